/** Names of machines: taking them, leftovers, fights, and what must not become a file. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlError } from '../../devices/machine/control.ts';
import { ControlClient, RequestError } from '../../host-node/registry/control-client.ts';
import { ControlServer } from '../../host-node/registry/control-server.ts';
import { NameError, Registry, type MachineRecord } from '../../host-node/registry/registry.ts';
import {
  isMachineName,
  openRuntimeDir,
  RuntimeDirError,
  runtimeDirPath,
} from '../../host-node/registry/runtime-dir.ts';

let directory: string;
let registry: Registry;
const servers: ControlServer[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-reg-'));
  registry = new Registry(openRuntimeDir(join(directory, 'run')));
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function life(state: MachineRecord['state'] = 'running'): Promise<MachineRecord> {
  const { id, socket } = registry.newLife();
  servers.push(await ControlServer.listen(socket));
  return { id, state, pid: process.pid, socket };
}

/** A record whose process is gone. */
function leftover(): MachineRecord {
  return { ...registry.newLife(), state: 'running', pid: 1 };
}

test('a name is taken once, and free again when it is removed', async () => {
  const first = await life();
  await registry.claim('vm', first, true);
  expect(registry.read('vm')).toEqual(first);
  expect(registry.names()).toEqual(['vm']);
  await expect(registry.claim('vm', await life(), true)).rejects.toMatchObject({ errno: 'EBUSY' });
  expect(registry.remove('vm', first)).toBe(true);
  expect(registry.read('vm')).toBeUndefined();
  expect(registry.remove('vm', first)).toBe(false);
  const second = await life();
  await registry.claim('vm', second, true);
  // The first life is over: it must not take the second one's name away.
  expect(registry.remove('vm', first)).toBe(false);
  registry.update('vm', { ...first, state: 'ended' });
  expect(registry.read('vm')).toEqual(second);
});

test('what a killed process left is taken over, unless only a new name will do', async () => {
  const dead = leftover();
  await registry.claim('vm', dead, true);
  await expect(registry.claim('vm', await life(), false)).rejects.toMatchObject({ errno: 'EEXIST' });
  const next = await life();
  await registry.claim('vm', next, true);
  expect(registry.read('vm')).toEqual(next);
});

test('a record that is no JSON stands for no machine', async () => {
  writeFileSync(join(registry.dir.path, 'vm'), 'garbage');
  const next = await life();
  await registry.claim('vm', next, true);
  expect(registry.read('vm')).toEqual(next);
});

test('what is no file in the folder is no machine, and its name cannot be had', async () => {
  mkdirSync(join(registry.dir.path, 'folder'));
  symlinkSync('/dev/null', join(registry.dir.path, 'link'));
  await registry.claim('vm', leftover(), true);
  expect(registry.names()).toEqual(['vm']);
  for (const name of ['folder', 'link']) {
    await expect(registry.claim(name, leftover(), true)).rejects.toMatchObject({ errno: 'EINVAL' });
  }
});

test('of many that fight for a leftover name, exactly one gets it', async () => {
  await registry.claim('vm', leftover(), true);
  const rivals = await Promise.all(Array.from({ length: 12 }, () => life()));
  const results = await Promise.allSettled(rivals.map((rival) => registry.claim('vm', rival, true)));
  const winners = rivals.filter((_, index) => results[index]?.status === 'fulfilled');
  expect(winners).toHaveLength(1);
  expect(registry.read('vm')).toEqual(winners[0]);
  for (const result of results) {
    if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(NameError);
  }
  // Nothing but the sockets that are open is left lying around.
  expect(readdirSync(registry.dir.runPath).filter((name) => /\.(tmp|old)$/.test(name))).toEqual([]);
});

test.each(['', '.', '..', '.run', 'a/b', '../x', 'a\\b', 'a\0b', 'x'.repeat(201)])('%j is no name', async (name) => {
  expect(isMachineName(name)).toBe(false);
  await expect(registry.claim(name, leftover(), true)).rejects.toMatchObject({ errno: 'EINVAL' });
});

describe('the folder', () => {
  test('is found as documented', () => {
    expect(runtimeDirPath({ WEBHYVE_RUNTIME_DIR: '/a', XDG_RUNTIME_DIR: '/b' })).toBe('/a');
    expect(runtimeDirPath({ XDG_RUNTIME_DIR: '/b' })).toBe('/b/webhyve');
    expect(runtimeDirPath({})).toMatch(/webhyve-\w+$/);
  });

  test.skipIf(process.platform === 'win32')('is for its owner alone, and no link to elsewhere', async () => {
    const path = join(directory, 'open');
    openRuntimeDir(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    // One that others can write to may be the system's own, /tmp for one: it is refused, and stays as it is.
    for (const mode of [0o1777, 0o770, 0o702]) {
      chmodSync(path, mode);
      expect(() => openRuntimeDir(path)).toThrow('can be written by other users');
      expect(statSync(path).mode & 0o7777).toBe(mode);
    }
    chmodSync(path, 0o755);
    openRuntimeDir(path);
    expect(statSync(path).mode & 0o777).toBe(0o755);
    chmodSync(join(path, '.run'), 0o777);
    expect(() => openRuntimeDir(path)).toThrow(RuntimeDirError);
    const record = await life();
    expect(statSync(record.socket).mode & 0o777).toBe(0o700);
    symlinkSync(path, join(directory, 'link'));
    expect(() => openRuntimeDir(join(directory, 'link'))).toThrow(RuntimeDirError);
    writeFileSync(join(directory, 'file'), '');
    expect(() => openRuntimeDir(join(directory, 'file'))).toThrow(RuntimeDirError);
  });

  test.skipIf(process.platform === 'win32')('has a limit on the length of its own path', () => {
    const long = new Registry(openRuntimeDir(join(directory, 'x'.repeat(100))));
    expect(() => long.newLife()).toThrow(/too long for a socket; set WEBHYVE_RUNTIME_DIR/);
  });
});

describe('the control socket', () => {
  test('answers in the order of the numbers, errors with their errno, and survives nonsense', async () => {
    const { socket } = registry.newLife();
    const server = await ControlServer.listen(socket);
    servers.push(server);
    server.serve((request) => {
      const { vcpu } = request as { vcpu: number };
      if (vcpu === 1) return Promise.reject(new ControlError('EINVAL', 'there is no vCPU 1'));
      return Promise.resolve({ vcpu });
    });
    const raw = connect(socket);
    raw.write('nonsense\n{"id":7,"vcpu":0}\n[]\nnull\n');
    let text = '';
    raw.on('data', (chunk) => (text += chunk.toString()));
    await expect.poll(() => text.split('\n').length).toBe(5);
    const replies = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: number; errno?: string });
    expect(replies.find(({ id }) => id === 7)).toEqual({ id: 7, result: { vcpu: 0 } });
    expect(replies.filter(({ errno }) => errno !== undefined).length).toBeGreaterThanOrEqual(2);
    // A line without an end closes this connection and no other.
    const closed = new Promise((resolve) => raw.on('close', resolve));
    raw.on('error', () => undefined);
    raw.write('x'.repeat(200_000));
    await closed;
    const client = await ControlClient.connect(socket);
    await expect(client.request('nmi', { vcpu: 1 })).rejects.toThrow(new RequestError('EINVAL', 'there is no vCPU 1'));
    expect(await client.request('nmi', { vcpu: 3 })).toEqual({ vcpu: 3 });
    client.close();
  });

  test('requests that come before the machine is there are answered at its end', async () => {
    const { socket } = registry.newLife();
    const server = await ControlServer.listen(socket);
    const client = await ControlClient.connect(socket);
    const answer = client.request('info', {});
    const settled = expect(answer).rejects.toMatchObject({ errno: 'ENXIO' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close();
    await settled;
    expect(existsSync(socket)).toBe(false);
    await expect(client.request('info', {})).rejects.toMatchObject({ errno: 'ENXIO' });
  });
});
