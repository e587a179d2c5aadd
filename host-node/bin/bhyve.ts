/** bhyve(8). */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  BhyveExit,
  errnoText,
  machineSettings,
  parseCommandLine,
  type ConfigTree,
} from '../../devices/config/index.ts';
import { restoreCheckpoint } from '../../devices/machine/checkpoint.ts';
import { ABORT_STATUS, type ExitReason } from '../../devices/machine/exit-reason.ts';
import { Machine } from '../../devices/machine/machine.ts';
import { loadCore, vcpuWorkerUrl } from '../assets.ts';
import { writeCoreFile } from '../core-dump.ts';
import { SerialOpener } from '../console/open-serial.ts';
import { takeLoaded, type LoadedFiles } from '../loaded.ts';
import { NameError, Registry } from '../registry/registry.ts';
import { openRuntimeDir, RuntimeDirError } from '../registry/runtime-dir.ts';
import { hasRebooted, isMonitored, monitor, reportReboot } from '../monitor.ts';
import { createNodeHost, ignoreLostReaders, writeMessage } from '../node-host.ts';
import { WaitingThread } from '../waiting-thread.ts';
import { openCheckpoint } from '../registry/checkpoint-file.ts';
import { RunFolder } from '../run-folder.ts';
import { register, type Registration } from '../registry/registration.ts';

/** Status of a run that its user left with Ctrl-A x: the machine is off, and callers that loop on resets stop. */
const LEFT_STATUS = 1;
const ERROR_STATUS = 4;
/** bhyvectl --suspend: bhyve(8) exits with 0. */
const SUSPENDED_STATUS = 0;
/** bhyvectl --destroy: the vCPU's thread of bhyve(8) exits with 1. */
const DESTROYED_STATUS = 1;

async function run(argv: readonly string[]): Promise<number> {
  const programName = basename(process.argv[1] ?? 'bhyve').replace(/\.[cm]?js$/, '');
  const parsed = parseCommandLine(argv, { programName, readTextFile: (path) => readFileSync(path, 'utf8') });
  for (const warning of parsed.warnings) writeMessage(warning);

  const { restoreFile } = parsed;
  let checkpoint = restoreFile === undefined ? undefined : await openCheckpoint(restoreFile, parsed.tree);
  const loaded = findLoaded(parsed.tree);
  const settings = machineSettings(parsed.tree);
  const watches = settings.flags.monitor && !isMonitored();
  if (watches || hasRebooted()) {
    // The file has said which machine it is; its state is what the guest had before it rebooted, or another process' affair.
    await checkpoint?.close();
    checkpoint = undefined;
  }
  if (watches) return monitor(argv, settings.name);
  const workerUrl = vcpuWorkerUrl();
  const firstThread = workerUrl && new WaitingThread(workerUrl, 'vcpu0', writeMessage);
  const registration = await register(settings.name, programName, writeMessage);

  let left = false;
  let machine: Machine | undefined = undefined as Machine | undefined;
  const leave = (): void => {
    left = true;
    void machine?.destroy();
  };
  const serial = new SerialOpener(leave, undefined, writeMessage);
  const host = createNodeHost({
    core: await loadCore(),
    workerUrl,
    firstThread,
    readFile: async (path) => loaded?.get(path) ?? readFile(path),
    backends: { character: (address) => serial.open(address) },
  });
  try {
    const restored = checkpoint !== undefined;
    machine = await Machine.create(parsed.tree, host, { fwCfgItems: parsed.fwCfgItems, restored });
    if (checkpoint) await restoreCheckpoint(machine, checkpoint, printLine);
  } catch (error) {
    await machine?.destroy();
    await registration?.abandon();
    throw error;
  }
  const started = machine;
  // The power button where the guest listens to it; otherwise the signal does what it does to any program.
  const onTerminate = (): void => {
    if (started.powerButton()) return;
    process.off('SIGTERM', onTerminate);
    void started.destroy().then(() => process.kill(process.pid, 'SIGTERM'));
  };
  process.on('SIGTERM', onTerminate);
  if (settings.flags.guestInCore) dumpOnAbort(started);
  let folder: RunFolder | undefined;
  try {
    if (settings.runFolder !== undefined) {
      folder = RunFolder.enter(settings.runFolder, settings.name, registration?.socket);
    }
  } catch (error) {
    await started.destroy();
    await registration?.abandon();
    throw new BhyveExit(ERROR_STATUS, `${programName}: rundir ${settings.runFolder}: ${errnoText(error)}\n`);
  }
  started.start();
  registration?.attach(started);
  const reason = await started.exited;
  folder?.leave();
  if (reason.reason === 'reset' && registration?.end === undefined) reportReboot();
  if (settings.flags.guestInCore && (reason.reason === 'error' || reason.reason === 'triplefault')) dump(started);
  await started.destroy();
  await registration?.finish(reason, settings.flags.destroyOnPoweroff && reason.reason === 'poweroff');
  if (left) return LEFT_STATUS;
  return endStatus(reason, registration, programName);
}

/** What bhyveload has left for this machine. */
function findLoaded(tree: ConfigTree): LoadedFiles | undefined {
  try {
    return takeLoaded(new Registry(openRuntimeDir()), tree.get('name') ?? '', tree);
  } catch (error) {
    // Without a folder for names there is nothing in it; a wrong name is refused when it is taken.
    if (error instanceof RuntimeDirError || error instanceof NameError) return undefined;
    throw error;
  }
}

/** -C: the guest's memory and registers, in the current folder. */
function dump(machine: Machine): void {
  const path = `${machine.name}.core`;
  try {
    writeCoreFile(machine, path);
    writeMessage(`guest memory and registers are in ${path}`);
  } catch (error) {
    writeMessage(`-C: ${path} could not be written: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** -C: SIGABRT ends the process as it always does, but not before the guest is in a file. */
function dumpOnAbort(machine: Machine): void {
  const onAbort = (): void => {
    process.off('SIGABRT', onAbort);
    void machine
      .pause()
      .then(() => dump(machine))
      .finally(() => process.kill(process.pid, 'SIGABRT'));
  };
  process.on('SIGABRT', onAbort);
}

/** bhyve's progress goes to standard output; a terminal in raw mode needs the carriage return too. */
function printLine(line: string): void {
  process.stdout.write(`${line}${process.stdin.isTTY && process.stdin.isRaw ? '\r' : ''}\n`);
}

function endStatus(reason: ExitReason, registration: Registration | undefined, programName: string): number {
  switch (registration?.end) {
    case 'suspended':
      return SUSPENDED_STATUS;
    case 'destroyed':
      // What vm_run(2) says of a machine that is gone: ENXIO.
      writeMessage('vm_run error -1, errno 6');
      return DESTROYED_STATUS;
    case undefined:
      // The message of an abort is bhyve's own, which no name precedes.
      if (reason.code === ABORT_STATUS) writeMessage(reason.message);
      else if (reason.reason === 'error' || reason.reason === 'triplefault')
        writeMessage(`${programName}: ${reason.message}`);
      return reason.code;
  }
}

/** Ends with the status once everything written has left the process. */
async function exit(status: number): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => {
      if (stream.destroyed || !stream.writable) resolve();
      else stream.write('', () => resolve());
    });
  }
  process.exit(status);
}

ignoreLostReaders();
try {
  await exit(await run(process.argv.slice(2)));
} catch (error) {
  if (error instanceof BhyveExit) {
    process.stdout.write(error.stdoutText);
    process.stderr.write(error.stderrText);
    await exit(error.status);
  }
  const where = error instanceof Error && process.env['WEBHYVE_DEBUG'] ? `\n${error.stack}` : '';
  process.stderr.write(`bhyve: internal error: ${String(error)}${where}\n`);
  await exit(ERROR_STATUS);
}
