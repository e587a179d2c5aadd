/** The page: puts the command line, the machine, its consoles and its files together. */
import { prepareMachine, type Machine } from '../machine.ts';
import { RemoteBridge } from '../remote-bridge.ts';
import type { LoadProgress } from '../../devices/block/remote/download.ts';
import { addDisk, setLoader } from './command-edits.ts';
import { CommandField } from './command-field.ts';
import { ConsoleTabs, DISPLAY_TAB } from './console-tabs.ts';
import { askUse, guessUse, watchDrops } from './dropped-files.ts';
import { button, download, element, formatBytes } from './elements.ts';
import { FilesPanel } from './files-panel.ts';
import { Help } from './help.ts';
import { readPageSettings } from './page-settings.ts';
import { Session, type SessionState } from './session.ts';
import { splitWords } from '../shell-words.ts';
import { StatusLine } from './status-line.ts';
import { watchTheme } from './theme.ts';

const STATUS_PERIOD_MS = 1000;
/** Parts of the page that F6 goes through. */
const REGIONS = ['toolbar', 'command', 'consoles', 'files'] as const;

const STATE_TEXT: Readonly<Record<SessionState, string>> = {
  off: 'Off',
  loading: 'Loading',
  running: 'Running',
  paused: 'Paused',
  ended: 'Ended',
  failed: 'Failed',
};

const settings = readPageSettings();
const help = new Help();
const statusLine = new StatusLine();
const tabs = new ConsoleTabs(takesKey);
const session = new Session({ changed, machineMade, machineGone });
const files = new FilesPanel({
  useAsDisk: (name) => edit((line) => addDisk(line, name)),
  machine: () => session.machine,
  received: (list) => void receive(list),
});
const command = new CommandField(
  () => [...files.files.keys(), ...files.images],
  () => void start(),
);

const curtain = element('curtain', HTMLDivElement);
const curtainTitle = element('curtain-title', HTMLParagraphElement);
const curtainText = element('curtain-text', HTMLParagraphElement);
const progressBar = element('curtain-progress', HTMLProgressElement);

function edit(change: (line: string) => string): void {
  try {
    command.text = change(command.text);
  } catch (error) {
    files.message(error instanceof Error ? error.message : String(error));
    return;
  }
  if (session.busy) files.message('The command line has changed: it counts from the next start on.');
}

async function start(snapshot?: Uint8Array): Promise<void> {
  const words = command.words();
  if (!words) return;
  await session.start(words, {
    files: Object.fromEntries(files.files),
    message: (text) => files.message(text),
    progress: showProgress,
    assets: settings.assets,
    snapshot,
  });
  if (session.state === 'running') tabs.focus();
}

function machineMade(machine: Machine): void {
  statusLine.describe(machine.description);
  const names = machine.description.consoles;
  const { display } = machine;
  tabs.keepOnly(display ? [...names, DISPLAY_TAB] : names);
  // What has a screen is looked at there.
  if (display) tabs.connectDisplay(display, (text) => files.message(text));
  for (const name of names) {
    const console = machine.consoles[name];
    if (console) tabs.connect(name, console);
  }
  if (machine.description.inlineReason !== undefined) files.message('All processors share one thread.');
  void files.refresh();
}

function machineGone(machine: Machine): void {
  for (const name of machine.description.consoles) {
    tabs.note(name, session.exit?.message ?? 'the machine is gone');
    tabs.disconnect(name);
  }
  tabs.disconnect(DISPLAY_TAB);
  void files.refresh();
}

function changed(): void {
  const { state, exit, problem } = session;
  document.body.dataset['state'] = state;
  element('state-text', HTMLSpanElement).textContent = STATE_TEXT[state];
  // The user is likely to start another one.
  if (!session.busy) prepareMachine(settings);
  const alive = state === 'running' || state === 'paused';
  for (const id of ['pause', 'reset', 'turn-off', 'save-snapshot'] as const) button(id).disabled = !alive;
  button('turn-off').disabled = !session.busy;
  button('power-button').disabled = state !== 'running';
  button('start').disabled = session.busy;
  const pauseText = button('pause').querySelector('span');
  if (pauseText) pauseText.textContent = state === 'paused' ? 'Resume' : 'Pause';
  progressBar.hidden = true;
  curtain.hidden = state === 'running' || state === 'off';
  switch (state) {
    case 'loading':
      curtainTitle.textContent = 'Building the machine';
      curtainText.textContent = '';
      break;
    case 'paused':
      curtainTitle.textContent = 'Paused';
      curtainText.textContent = 'Processors and clock stand still.';
      break;
    case 'ended':
    case 'failed':
      if (exit) {
        curtainTitle.textContent = `${exit.message[0]?.toUpperCase() ?? ''}${exit.message.slice(1)}.`;
        curtainText.textContent = `bhyve would have ended with status ${exit.code} (${exit.reason}).`;
      } else {
        curtainTitle.textContent = 'There is no such machine';
        curtainText.textContent = problem ?? '';
      }
      break;
    default:
      break;
  }
}

function showProgress({ url, doneBytes, totalBytes }: LoadProgress): void {
  if (session.state !== 'loading') return;
  const name = url.startsWith('data:') ? 'data' : (url.split('/').at(-1) ?? url);
  const of = totalBytes === undefined ? '' : ` of ${formatBytes(totalBytes)}`;
  curtainText.textContent = `${name}: ${formatBytes(doneBytes)}${of}`;
  progressBar.hidden = false;
  if (totalBytes === undefined) progressBar.removeAttribute('value');
  else {
    progressBar.max = totalBytes;
    progressBar.value = doneBytes;
  }
}

async function saveSnapshot(): Promise<void> {
  const { machine } = session;
  if (!machine) return;
  button('save-snapshot').disabled = true;
  try {
    const bytes = await machine.snapshot();
    download(new Blob([bytes as Uint8Array<ArrayBuffer>]), `${machine.name}.snapshot`);
  } catch (error) {
    files.message(error instanceof Error ? error.message : String(error));
  } finally {
    changed();
  }
}

async function receive(list: readonly File[]): Promise<void> {
  for (const file of list) {
    const name = files.add(file);
    const use = await askUse(name, await guessUse(file));
    if (use === 'disk') edit((line) => addDisk(line, name));
    else if (use === 'kernel' || use === 'initrd') edit((line) => setLoader(line, use, name));
    else if (use === 'snapshot') await start(new Uint8Array(await file.arrayBuffer()));
    else if (use === 'opfs' && (await files.keep(name, file))) edit((line) => addDisk(line, `opfs:${name}`));
  }
}

/** Keys that the page takes wherever the focus is, also from a terminal. */
function takesKey(event: KeyboardEvent): boolean {
  return event.key === 'F1' || event.key === 'F6';
}

function moveRegion(step: number): void {
  const parts = REGIONS.map((id) => document.querySelector<HTMLElement>(id === 'toolbar' ? '.toolbar' : `#${id}`));
  const open = parts.filter((part): part is HTMLElement => part !== null && !part.hidden);
  const at = open.findIndex((part) => part.contains(document.activeElement));
  const next = open[(at + step + open.length) % open.length];
  if (next?.id === 'consoles') tabs.focus();
  else if (next?.id === 'command') command.focus();
  else next?.querySelector<HTMLElement>('button:not(:disabled), input')?.focus();
}

function connectRemote(url: string): void {
  const name = new URL(url).host;
  try {
    const bridge = new RemoteBridge(url, {
      opened: () => tabs.note(name, `connected to ${name}`),
      closed: (reason) => {
        tabs.note(name, reason);
        files.message(`${name}: ${reason}`);
      },
    });
    tabs.connect(name, bridge);
    tabs.show(name);
    tabs.focus();
  } catch (error) {
    files.message(error instanceof Error ? error.message : String(error));
  }
}

function listen(): void {
  button('start').addEventListener('click', () => void start());
  button('pause').addEventListener('click', () => void session.togglePause());
  button('power-button').addEventListener('click', () => {
    void session.machine?.powerButton().then((heard) => {
      if (heard) return;
      files.message('No operating system listens to the power button.');
      files.show(true);
    });
  });
  button('reset').addEventListener('click', () => void session.machine?.reset());
  button('turn-off').addEventListener('click', () => void session.turnOff());
  button('save-snapshot').addEventListener('click', () => void saveSnapshot());
  button('show-help').addEventListener('click', () => help.open());
  const snapshotPicker = element('snapshot-picker', HTMLInputElement);
  button('load-snapshot').addEventListener('click', () => snapshotPicker.click());
  snapshotPicker.addEventListener('change', () => {
    const file = snapshotPicker.files?.[0];
    snapshotPicker.value = '';
    if (file) void file.arrayBuffer().then((bytes) => start(new Uint8Array(bytes)));
  });
  element('remote', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    connectRemote(element('remote-url', HTMLInputElement).value);
  });
  element('command', HTMLFormElement).addEventListener('submit', (event) => event.preventDefault());
  watchDrops((list) => void receive(list));
  addEventListener('keydown', (event) => {
    // A display has sent it to the guest.
    if (event.defaultPrevented) return;
    if (event.key === 'F1') help.open();
    else if (event.key === 'F6') moveRegion(event.shiftKey ? -1 : 1);
    else return;
    event.preventDefault();
  });
  addEventListener('beforeunload', (event) => {
    if (session.busy) event.preventDefault();
  });
  watchTheme(() => tabs.recolour());
  setInterval(() => {
    if (session.state !== 'running') return;
    void session.machine?.status().then(
      (status) => statusLine.update(status),
      () => undefined,
    );
  }, STATUS_PERIOD_MS);
}

listen();
command.text = settings.commandLine;
changed();
if (settings.title !== undefined) document.title = settings.title;
const address = new URLSearchParams(location.hash.slice(1)).get('attach');
if (address !== null) connectRemote(address);
else if (settings.autostart && splitWords(settings.commandLine).length > 0) void start();
