export interface StartArguments {
  dryRun: boolean;
  bhyve: string[];
  kernel?: string;
  initrd?: string;
  append?: string;
}
export function parseStartArguments(args: readonly string[]): StartArguments;
export function bhyveArguments(machine: {
  kernel: string;
  initrd: string | undefined;
  append: string | undefined;
  extra: readonly string[];
}): string[];
export function start(args: readonly string[]): Promise<number>;
export function userFile(path: string): string;
