/** The panel with files: those of the page, those that the browser keeps, the machine's disks, and messages. */
import type { Machine } from '../machine.ts';
import {
  createImage,
  deleteImage,
  importImage,
  listImages,
  readImage,
  type StoredImage,
} from '../storage/image-store.ts';
import { button, download, element, formatBytes, make } from './elements.ts';

const MAX_MESSAGES = 500;

export interface FilesPanelActions {
  /** Puts a file into the command line as a disk. */
  useAsDisk(name: string): void;
  machine(): Machine | undefined;
  /** Files came; what to do with each is asked. */
  received(files: readonly File[]): void;
}

export class FilesPanel {
  /** Files of the page, by the name that the command line has for them. */
  readonly files = new Map<string, File>();
  /** Names of the browser's images. */
  images: readonly string[] = [];
  readonly #panel = element('files', HTMLElement);
  readonly #toggle = button('show-files');
  readonly #messages = element('messages', HTMLOListElement);

  constructor(private readonly actions: FilesPanelActions) {
    this.#toggle.addEventListener('click', () => this.show(!this.shown));
    const picker = element('picker', HTMLInputElement);
    button('pick').addEventListener('click', () => picker.click());
    picker.addEventListener('change', () => {
      actions.received([...(picker.files ?? [])]);
      picker.value = '';
    });
    element('new-image', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      const name = element('new-image-name', HTMLInputElement).value;
      const sizeBytes = element('new-image-size', HTMLInputElement).valueAsNumber * 2 ** 20;
      void this.#try(() => createImage(name, sizeBytes));
    });
    this.#listFiles();
    void this.refresh();
  }

  get shown(): boolean {
    return !this.#panel.hidden;
  }

  show(shown: boolean): void {
    this.#panel.hidden = !shown;
    this.#toggle.setAttribute('aria-expanded', String(shown));
    if (shown) void this.refresh();
  }

  /** A line for the user. */
  message(text: string): void {
    const last = this.#messages.lastElementChild;
    if (last?.textContent === text) return;
    this.#messages.append(make('li', {}, text));
    while (this.#messages.childElementCount > MAX_MESSAGES) this.#messages.firstElementChild?.remove();
    this.#messages.scrollTop = this.#messages.scrollHeight;
  }

  async #try(action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      this.message(error instanceof Error ? error.message : String(error));
      this.show(true);
      return false;
    } finally {
      await this.refresh();
    }
  }

  /** Takes a file under a name that the command line can hold; returns it. */
  add(file: File): string {
    // bhyve's options are separated by commas, and %(name) stands for a variable.
    const name = file.name.replace(/[,%\s]/g, '_');
    this.files.set(name, file);
    this.#listFiles();
    return name;
  }

  /** Keeps a copy of a file in the browser; false, and the reason is shown, when that cannot be done. */
  keep(name: string, file: File): Promise<boolean> {
    return this.#try(() => importImage(name, file));
  }

  #item(name: string, sizeText: string, ...actions: readonly HTMLButtonElement[]): HTMLLIElement {
    return make(
      'li',
      {},
      make('span', { className: 'name', title: name }, name),
      make('span', { className: 'size' }, sizeText),
      make('span', { className: 'actions' }, ...actions),
    );
  }

  #action(label: string, what: string, run: () => void): HTMLButtonElement {
    const made = make('button', { type: 'button' }, label);
    made.setAttribute('aria-label', `${label} ${what}`);
    made.addEventListener('click', run);
    return made;
  }

  #fill(id: string, items: readonly HTMLLIElement[], none: string): void {
    element(id, HTMLUListElement).replaceChildren(
      ...(items.length > 0 ? items : [make('li', { className: 'none' }, none)]),
    );
  }

  #listFiles(): void {
    const items = [...this.files].map(([name, file]) =>
      this.#item(
        name,
        formatBytes(file.size),
        this.#action('Use as disk', name, () => this.actions.useAsDisk(name)),
        this.#action('Keep', name, () => void this.keep(name, file)),
        this.#action('Forget', name, () => {
          this.files.delete(name);
          this.#listFiles();
        }),
      ),
    );
    this.#fill('page-files', items, 'None. Drop files anywhere on the page.');
  }

  #imageItem({ name, sizeBytes, overlay }: StoredImage): HTMLLIElement {
    const path = `opfs:${name}`;
    const actions = [
      this.#action('Download', path, () => void this.#try(async () => download(await readImage(name), name))),
      this.#action('Delete', path, () => void this.#try(() => deleteImage(name))),
    ];
    if (!overlay) actions.unshift(this.#action('Use as disk', path, () => this.actions.useAsDisk(path)));
    return this.#item(path, `${formatBytes(sizeBytes)}${overlay ? ' of changes' : ''}`, ...actions);
  }

  /** Reads the browser's images and the machine's disks again. */
  async refresh(): Promise<void> {
    const images = await listImages().catch((error: unknown) => error);
    if (Array.isArray(images)) {
      const list = images as StoredImage[];
      this.images = list.map(({ name }) => `opfs:${name}`);
      this.#fill(
        'images',
        list.map((image) => this.#imageItem(image)),
        'None.',
      );
    } else this.#fill('images', [], images instanceof Error ? images.message : String(images));
    const { usage, quota } = (await navigator.storage?.estimate().catch(() => undefined)) ?? {};
    const room = element('storage', HTMLParagraphElement);
    if (usage !== undefined && quota !== undefined)
      room.textContent = `${formatBytes(usage)} of ${formatBytes(quota)} in use`;
    const machine = this.actions.machine();
    const disks = machine?.description.disks ?? [];
    this.#fill(
      'disks',
      disks.map((path) =>
        this.#item(
          path,
          '',
          this.#action('Download as the guest sees it', path, () => void this.#try(() => this.#downloadDisk(path))),
        ),
      ),
      'None.',
    );
  }

  async #downloadDisk(path: string): Promise<void> {
    const machine = this.actions.machine();
    if (!machine) return;
    const blob = await new Response(await machine.readDisk(path)).blob();
    download(blob, /([^/:?]+)(\?.*)?$/.exec(path)?.[1] ?? 'disk.img');
  }
}
