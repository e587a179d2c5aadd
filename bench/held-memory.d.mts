export interface HeldMemory {
  readonly residentMib: number;
  readonly touchedMib: number;
}
export function extraOf(sample: HeldMemory): number;
export function judge(samples: readonly HeldMemory[]): { readonly kept: boolean; readonly lines: readonly string[] };
