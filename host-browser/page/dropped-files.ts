/** Files dropped on the page: a disk, a kernel, an initial RAM disk, a snapshot? Looks at how they begin, and asks. */
import { element } from './elements.ts';

export type FileUse = 'disk' | 'kernel' | 'initrd' | 'snapshot' | 'opfs' | 'none';

const SNAPSHOT_MAGIC = 'WEBHYVE\u0001';

/** What a file looks like; undefined when it could be anything. */
export async function guessUse(file: File): Promise<FileUse | undefined> {
  const head = new Uint8Array(await file.slice(0, 1024).arrayBuffer());
  const text = (at: number, length: number): string => String.fromCharCode(...head.subarray(at, at + length));
  if (text(0, 8) === SNAPSHOT_MAGIC) return 'snapshot';
  // Documentation/arch/x86/boot.rst: the setup header's magic.
  if (text(0x202, 4) === 'HdrS') return 'kernel';
  if (text(0, 6) === '070701' || (head[0] === 0x1f && head[1] === 0x8b)) return 'initrd';
  return undefined;
}

/** Asks what a file is for; the likely answer has the focus. */
export function askUse(name: string, likely: FileUse | undefined): Promise<FileUse> {
  const dialog = element('dropped', HTMLDialogElement);
  element('dropped-name', HTMLParagraphElement).textContent = name;
  dialog.returnValue = 'none';
  dialog.showModal();
  dialog.querySelector<HTMLButtonElement>(`button[value="${likely ?? 'disk'}"]`)?.focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue as FileUse), { once: true });
  });
}

/** Calls back with files that are dropped anywhere on the page, which shows that it takes them. */
export function watchDrops(received: (files: readonly File[]) => void): void {
  const target = element('drop-target', HTMLDivElement);
  let depth = 0;
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') === true;
  const over = (change: number): void => {
    depth = Math.max(0, depth + change);
    target.hidden = depth === 0;
  };
  addEventListener('dragenter', (event) => {
    if (hasFiles(event)) over(1);
  });
  addEventListener('dragleave', (event) => {
    if (hasFiles(event)) over(-1);
  });
  addEventListener('dragover', (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener('drop', (event) => {
    depth = 0;
    target.hidden = true;
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    received(files);
  });
}
