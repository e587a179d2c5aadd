/** grub-bhyve(8) as far as a small loader can: reads GRUB's configuration from a disk or a folder, and leaves the Linux that it boots for bhyve. */
import { readFile } from 'node:fs/promises';
import { errnoText, parseMemorySize } from '../devices/config/index.ts';
import { CONFIGURATION_FILES, readGrubBoot, type GrubDevices, type LinuxBoot } from '../devices/images/grub-boot.ts';
import { GrubError } from '../devices/images/grub-script.ts';
import { ImageError, type ImageFiles } from '../devices/images/image.ts';
import { leaveLoaded } from './loaded.ts';
import { folderFiles, LoadFailure, openImageFile, type OpenedImage } from './loader-files.ts';
import { NameError, Registry } from './registry/registry.ts';
import { openRuntimeDir } from './registry/runtime-dir.ts';

const DEFAULT_MAP = '/boot/grub/device.map';
const DEFAULT_ROOT = 'hd0';
/** The name under which folders of this host are a device. */
const HOST = 'host';
const MAX_INPUT_BYTES = 1 << 20;

/** Long names, short ones, and what the argument is called; without one there is none. */
const OPTIONS = [
  { long: 'cons-dev', short: 'c', argument: 'cons-dev', help: 'a tty(4) device; accepted, for nothing is asked' },
  {
    long: 'directory',
    short: 'd',
    argument: 'DIR',
    help: 'use the configuration in the directory DIR [default=/boot/grub]',
  },
  { long: 'evga', short: 'e', argument: undefined, help: 'accepted' },
  { long: 'grub-cfg', short: 'g', argument: 'CFG', help: 'alternative name of grub.cfg' },
  { long: 'device-map', short: 'm', argument: 'FILE', help: `use FILE as the device map [default=${DEFAULT_MAP}]` },
  { long: 'memory', short: 'M', argument: 'MBYTES', help: 'guest memory in MB [default=256]' },
  {
    long: 'root',
    short: 'r',
    argument: 'DEVICE_NAME',
    help: `set root device [default=${DEFAULT_ROOT}]; host: -d is a folder of this host`,
  },
  { long: 'wire', short: 'S', argument: undefined, help: "bhyve's to heed" },
  { long: 'verbose', short: 'v', argument: undefined, help: 'print verbose messages' },
] as const;

type OptionName = (typeof OPTIONS)[number]['long'];

interface Arguments {
  readonly values: ReadonlyMap<OptionName, string>;
  readonly name: string;
}

function usage(programName: string): string {
  const lines = OPTIONS.map(({ long, short, argument, help }) => {
    const left = `  -${short}, --${long}${argument === undefined ? '' : `=${argument}`}`;
    return `${left.padEnd(30)} ${help}`;
  });
  return [
    `Usage: ${programName} [OPTION...] <vmname>`,
    ...lines,
    `${'  -?, --help'.padEnd(30)} give this help list`,
  ].join('\n');
}

/** As getopt_long(3) and argp read them: clusters, attached arguments, `--name=value`, operands anywhere. */
function parse(argv: readonly string[], programName: string): Arguments {
  const values = new Map<OptionName, string>();
  const operands: string[] = [];
  const words = [...argv];
  const wrong = (text: string): LoadFailure =>
    new LoadFailure(`${programName}: ${text}\nTry \`${programName} --help' for more information.`, 64);
  const set = (option: (typeof OPTIONS)[number] | undefined, spelled: string, attached: string | undefined): void => {
    if (!option) throw wrong(`unrecognized option '${spelled}'`);
    if (option.argument === undefined) {
      values.set(option.long, '');
      return;
    }
    const value = attached ?? words.shift();
    if (value === undefined) throw wrong(`option requires an argument -- '${spelled}'`);
    values.set(option.long, value);
  };
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '--help' || word === '-?') throw new LoadFailure(usage(programName), 0);
    if (word.startsWith('--')) {
      const [, name = '', value] = /^--([\w-]*)(?:=(.*))?$/s.exec(word) ?? [];
      set(
        OPTIONS.find(({ long }) => long === name),
        word,
        value,
      );
      continue;
    }
    if (!word.startsWith('-') || word === '-') {
      operands.push(word);
      continue;
    }
    for (let at = 1; at < word.length; at++) {
      const option = OPTIONS.find(({ short }) => short === word[at]);
      const takes = option?.argument !== undefined;
      set(option, word[at] ?? '', takes && at + 1 < word.length ? word.slice(at + 1) : undefined);
      if (takes) break;
    }
  }
  const [name, ...surplus] = operands;
  if (name === undefined || surplus.length > 0) throw new LoadFailure(usage(programName), 64);
  return { values, name };
}

/** `(hd0) /path` lines of a device map. */
export function parseDeviceMap(text: string): Map<string, string> {
  const map = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, device, path] = /^\s*\(([^)]+)\)\s+(.+?)\s*$/.exec(line) ?? [];
    if (device !== undefined && path !== undefined) map.set(device, path);
  }
  return map;
}

/** Images of a device map, opened when they are asked for. */
class MappedDevices implements GrubDevices {
  readonly #opened = new Map<string, OpenedImage>();

  constructor(
    private readonly map: ReadonlyMap<string, string>,
    private readonly host: ImageFiles | undefined,
  ) {}

  get names(): readonly string[] {
    return [...this.#opened].flatMap(([device, { volumes }]) =>
      volumes.map(({ partition }) => (partition === '' ? device : `${device},${partition}`)),
    );
  }

  async openAll(): Promise<void> {
    for (const [device, path] of this.map) this.#opened.set(device, await openImageFile(path));
  }

  /** `hd0,gpt2`, `hd0,2`, `hd0`; a disk without a partition's number is its only file system. */
  files(device: string): Promise<ImageFiles | undefined> {
    if (device === HOST) return Promise.resolve(this.host);
    const [disk = '', partition = ''] = device.split(',');
    const volumes = this.#opened.get(disk)?.volumes ?? [];
    const found = volumes.find((volume) =>
      /^\d+$/.test(partition) ? /\d+$/.exec(volume.partition)?.[0] === partition : volume.partition === partition,
    );
    return Promise.resolve((found ?? (partition === '' && volumes.length === 1 ? volumes[0] : undefined))?.files);
  }

  async close(): Promise<void> {
    for (const { close } of this.#opened.values()) await close();
  }
}

async function deviceMap(path: string, isNeeded: boolean): Promise<Map<string, string>> {
  try {
    return parseDeviceMap(await readFile(path, 'utf8'));
  } catch (error) {
    if (!isNeeded) return new Map();
    throw new LoadFailure(`cannot read the device map ${path}: ${errnoText(error)}`);
  }
}

/** Commands from standard input, as scripts give them to a grub-bhyve that finds no configuration. */
export type ReadInput = (maxBytes: number) => Promise<string | undefined>;

async function findBoot(values: Arguments['values'], readInput: ReadInput): Promise<LinuxBoot> {
  const root = values.get('root') ?? DEFAULT_ROOT;
  const directory = values.get('directory');
  const file = values.get('grub-cfg') ?? 'grub.cfg';
  const map = await deviceMap(values.get('device-map') ?? DEFAULT_MAP, values.has('device-map') || root !== HOST);
  const devices = new MappedDevices(map, root === HOST ? folderFiles(directory ?? '/boot/grub') : undefined);
  try {
    await devices.openAll();
    const files = await devices.files(root);
    if (!files) {
      const known = devices.names.map((name) => `(${name})`).join(' ') || 'none';
      throw new LoadFailure(`there is no file system on (${root}) that can be read; there are: ${known}`);
    }
    const places =
      root === HOST ? [`/${file}`] : directory === undefined ? CONFIGURATION_FILES : [`${directory}/${file}`];
    for (const place of places) {
      const bytes = await files.read(place.replace(/grub\.cfg$/, file));
      if (bytes) return await readGrubBoot(new TextDecoder().decode(bytes), root, devices);
    }
    const commands = await readInput(MAX_INPUT_BYTES);
    if (commands === undefined || commands.trim() === '') {
      throw new LoadFailure(`there is no ${places.join(', ')} on (${root}), and no commands on standard input`);
    }
    return await readGrubBoot(commands, root, devices);
  } finally {
    await devices.close();
  }
}

/** Runs the command; resolves with its status. */
export async function runGrubBhyve(
  argv: readonly string[],
  programName: string,
  io: {
    readonly stdout: (text: string) => void;
    readonly stderr: (text: string) => void;
    readonly readInput: ReadInput;
  },
): Promise<number> {
  try {
    const { values, name } = parse(argv, programName);
    const memory = values.get('memory') ?? '256';
    if (parseMemorySize(memory) === undefined)
      throw new LoadFailure(`${programName}: invalid memory size '${memory}'`, 64);
    const boot = await findBoot(values, io.readInput);
    await leaveLoaded(new Registry(openRuntimeDir()), name, { ...boot, protocol: 'auto', modules: [] });
    return 0;
  } catch (error) {
    if (error instanceof LoadFailure) {
      (error.status === 0 ? io.stdout : io.stderr)(`${error.message}\n`);
      return error.status;
    }
    if (error instanceof NameError) io.stderr(`vm_create: ${error.message}\n`);
    else if (error instanceof ImageError || error instanceof GrubError) io.stderr(`${programName}: ${error.message}\n`);
    else throw error;
    return 1;
  }
}
