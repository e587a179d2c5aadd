/**
 * Hostile 9P clients: random messages, half of them nearly right, against both backends, while another process of the host renames a directory
 * and puts links to the outside in its place. Nothing outside a share may be read or written. WEBHYVE_FUZZ_OPERATIONS sets how many messages
 * (default: seconds' worth).
 */
import { fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MemoryTree } from '../../devices/share/memory-tree.ts';
import * as M from '../../devices/share/messages.ts';
import { NinePServer } from '../../devices/share/server.ts';
import { FolderShare } from '../../host-node/share/folder.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { BufferExchange, NinePClient } from '../support/nine-p-client.ts';

const OPERATIONS = Number(process.env['WEBHYVE_FUZZ_OPERATIONS'] ?? 20_000);
/** In the folder outside: the text of a file, and a name that nobody says. */
const SECRET = 'what nobody may read';
const UNTOLD = 'name-that-nobody-says';
const LONG_MS = 3_600_000;
const NAMES = [
  'a',
  'b',
  'd',
  'aside',
  'out',
  'secret',
  'secret',
  '..',
  '.',
  '',
  'a/b',
  '../secret',
  '.webhyve-metadata',
  'x'.repeat(300),
] as const;
const REQUESTS = [
  ...[M.TSTATFS, M.TLOPEN, M.TLCREATE, M.TSYMLINK, M.TMKNOD, M.TRENAME, M.TREADLINK, M.TGETATTR, M.TSETATTR],
  ...[M.TXATTRWALK, M.TXATTRCREATE, M.TREADDIR, M.TFSYNC, M.TLOCK, M.TGETLOCK, M.TLINK, M.TMKDIR, M.TRENAMEAT],
  ...[M.TUNLINKAT, M.TATTACH, M.TFLUSH, M.TWALK, M.TREAD, M.TWRITE, M.TCLUNK, M.TREMOVE],
] as const;
const UNIX_REQUESTS = [M.TOPEN, M.TCREATE, M.TSTAT, M.TWSTAT, M.TWALK, M.TREAD, M.TWRITE, M.TCLUNK, M.TREMOVE] as const;

let scratch = '';
let outside = '';
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'webhyve-share-fuzz-'));
  outside = join(scratch, 'outside');
  mkdirSync(outside);
  mkdirSync(join(scratch, 'share'));
  writeFileSync(join(outside, 'secret'), SECRET);
  writeFileSync(join(outside, UNTOLD), SECRET);
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function expectOutsideUntouched(): void {
  expect(readdirSync(outside).sort()).toEqual([UNTOLD, 'secret'].sort());
  for (const name of [UNTOLD, 'secret']) {
    const { mode, uid, gid, nlink } = statSync(join(outside, name));
    expect([mode & 0o7777, uid, gid, nlink]).toEqual([0o644, process.getuid?.(), process.getgid?.(), 1]);
    expect(readFileSync(join(outside, name), 'utf8')).toBe(SECRET);
  }
  expect(readdirSync(scratch).sort()).toEqual(['outside', 'share']);
}

/** A body whose fields are of the right kinds, in the order that `shape` says. */
function body(random: FakeRandom, shape: string): M.MessageWriter {
  const writer = new M.MessageWriter();
  for (const field of shape) {
    if (field === 'f') writer.u32(random.below(8));
    else if (field === 's') writer.string(random.below(30) === 0 ? outside : random.pick(NAMES));
    else if (field === '1') writer.u8(random.nasty() & 0xff);
    else if (field === '2') writer.u16(random.below(4));
    else if (field === '4') writer.u32(random.nasty());
    else if (field === '8') writer.u64((BigInt(random.below(8) ? 0 : random.nasty()) << 32n) | BigInt(random.nasty()));
  }
  return writer;
}

const SHAPES: Readonly<Record<number, string>> = {
  [M.TSTATFS]: 'f',
  [M.TLOPEN]: 'f4',
  [M.TLCREATE]: 'fs444',
  [M.TSYMLINK]: 'fss4',
  [M.TMKNOD]: 'fs4444',
  [M.TRENAME]: 'ffs',
  [M.TREADLINK]: 'f',
  [M.TGETATTR]: 'f8',
  [M.TSETATTR]: 'f444488888',
  [M.TXATTRWALK]: 'ffs',
  [M.TXATTRCREATE]: 'fs84',
  [M.TREADDIR]: 'f84',
  [M.TFSYNC]: 'f4',
  [M.TLOCK]: 'f14884s',
  [M.TGETLOCK]: 'f1884s',
  [M.TLINK]: 'ffs',
  [M.TMKDIR]: 'fs44',
  [M.TRENAMEAT]: 'fsfs',
  [M.TUNLINKAT]: 'fs4',
  [M.TATTACH]: 'f4ss4',
  [M.TFLUSH]: '2',
  [M.TWALK]: 'ff2ssss',
  [M.TREAD]: 'f84',
  [M.TWRITE]: 'f84',
  [M.TCLUNK]: 'f',
  [M.TREMOVE]: 'f',
  [M.TOPEN]: 'f1',
  [M.TCREATE]: 'fs41s',
  [M.TSTAT]: 'f',
  [M.TWSTAT]: 'f2224448888ssss444',
};

async function bombard(server: NinePServer, random: FakeRandom, dialect: string, count: number): Promise<void> {
  const client = new NinePClient(server);
  await client.version(dialect, 8192);
  await client.attach(0);
  const pending = new Set<Promise<unknown>>();
  for (let i = 0; i < count; i++) {
    const type = dialect === '9P2000.L' ? random.pick([...REQUESTS]) : random.pick([...UNIX_REQUESTS]);
    const fields = body(random, SHAPES[type] ?? '4444');
    if (type === M.TWRITE) fields.append(new Uint8Array(random.below(64)));
    const message = M.frame(random.below(50) === 0 ? random.below(256) : type, random.below(16), fields.bytes);
    // Some are cut, some lie about their length, some are noise.
    if (random.below(20) === 0) message[random.below(message.length)] = random.u32() & 0xff;
    const sent = random.below(20) === 0 ? message.subarray(0, random.below(message.length + 1)) : message;
    const reply = random.below(20) === 0 ? random.below(200) : 10_000;
    const exchange = new BufferExchange(sent, reply);
    const answer = server.serve(exchange).then((length) => {
      expect(length).toBeLessThanOrEqual(reply);
      const said = Buffer.from(exchange.reply.buffer, 0, length);
      for (const forbidden of [SECRET, UNTOLD]) if (said.includes(forbidden)) throw new Error(`told of ${forbidden}`);
      pending.delete(answer);
    });
    pending.add(answer);
    if (pending.size > 8) await Promise.race(pending);
    if (i % 2000 === 0) {
      await Promise.all(pending);
      await client.version(dialect, 8192);
      await client.attach(0);
    }
  }
  await Promise.all(pending);
  await server.reset();
  expect(server.backendErrors).toBe(0);
}

/**
 * Another process that keeps exchanging a directory of the share, and names that the guest uses, for links to the outside, until it is told
 * to end: then it says how often it was between a link's making and its end. Whatever the guest puts in its way it moves aside.
 */
const RACER = `
const fs = require('node:fs');
const [share, outside] = process.argv.slice(2);
const at = (name) => share + '/' + name;
const attempt = (change) => { try { change(); return true; } catch { return false; } };
let [rounds, old] = [0, 0];
process.on('message', () => process.send(rounds, () => process.exit()));
process.send('ready');
(function swap() {
  for (let i = 0; i < 200; i++) {
    if (!attempt(() => fs.renameSync(at('d'), at('aside')))) attempt(() => fs.renameSync(at('aside'), at('old' + old++)));
    if (attempt(() => fs.symlinkSync(outside, at('d')))) rounds++;
    attempt(() => fs.unlinkSync(at('d')));
    if (!attempt(() => fs.renameSync(at('aside'), at('d')))) attempt(() => fs.mkdirSync(at('d')));
    for (const name of i % 20 ? [] : ['a', 'out', 'secret']) {
      attempt(() => fs.unlinkSync(at(name)));
      attempt(() => fs.symlinkSync(name === 'secret' ? outside + '/secret' : outside, at(name)));
    }
  }
  setImmediate(swap);
})();
`;

/** Runs `work` while the racer runs; resolves to how often the racer got through. */
async function withRacer(work: () => Promise<void>): Promise<number> {
  const script = join(outside, 'racer.cjs');
  writeFileSync(script, RACER);
  const racer = fork(script, [join(scratch, 'share'), outside], { execArgv: [] });
  const said = (): Promise<unknown> => new Promise((resolve) => racer.once('message', resolve));
  await said();
  rmSync(script);
  try {
    await work();
    const rounds = said();
    racer.send('end');
    return Number(await rounds);
  } finally {
    racer.kill();
  }
}

describe.each(['9P2000.L', '9P2000.u'])('random messages of %s', (dialect) => {
  test('against a tree in memory', { timeout: LONG_MS }, async () => {
    const server = new NinePServer({ backend: new MemoryTree({ maxBytes: 1 << 24 }), readOnly: false });
    await bombard(server, new FakeRandom(16), dialect, OPERATIONS / 2);
    await server.close();
  });

  test.runIf(process.platform === 'linux')('against a folder, with races', { timeout: LONG_MS }, async () => {
    const share = FolderShare.open(join(scratch, 'share'), { maxDescriptors: 32 });
    const server = new NinePServer({ backend: share, readOnly: false });
    const rounds = await withRacer(() => bombard(server, new FakeRandom(17), dialect, OPERATIONS / 2));
    expect(rounds).toBeGreaterThan(0);
    expect(share.nodeCount).toBe(1);
    await server.close();
    expectOutsideUntouched();
  });
});

test.runIf(process.platform === 'linux')('races of links and renames lead nowhere', { timeout: LONG_MS }, async () => {
  const folder = join(scratch, 'share');
  mkdirSync(join(folder, 'd'));
  const server = new NinePServer({ backend: FolderShare.open(folder), readOnly: false });
  const client = new NinePClient(server);
  await client.version();
  await client.attach(0);
  let entered = 0;
  const told: string[] = [];
  /** What a guest would do that hopes to be inside the directory when it becomes a link. */
  const attempt = async (i: number): Promise<void> => {
    const qids = await client.walk(0, 1, 'd');
    if (qids.length < 1) return;
    entered++;
    await client.create(1, 2, `planted${i % 3}`, 0o102).catch(() => undefined);
    if ((await client.walk(1, 3, 'secret')).length < 1) return;
    await client.lopen(3);
    told.push(new TextDecoder().decode(await client.read(3, 0, 100)));
  };
  await withRacer(async () => {
    for (let i = 0; i < OPERATIONS / 100; i++) {
      await attempt(i).catch(() => undefined);
      for (const fid of [1, 2, 3]) await client.clunk(fid).catch(() => undefined);
      await client.rename(0, 'd', 0, 'e').catch(() => undefined);
      await client.rename(0, 'e', 0, 'd').catch(() => undefined);
    }
  });
  expect(entered).toBeGreaterThan(0);
  expect(told.filter((text) => text.includes(SECRET))).toEqual([]);
  await server.close();
  expectOutsideUntouched();
});
