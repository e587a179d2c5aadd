/** All wide forms, by the file their vectors lie in (data/wide-GROUP.bin). */
import type { WideForm } from './form.ts';
import { imageForms } from './image-forms.ts';
import { type Describe, simdForms } from './simd-forms.ts';
import { x87Forms } from './x87-forms.ts';

export const SIMD_GROUPS = [
  'simd-legacy-0f',
  'simd-legacy-0f38',
  'simd-legacy-0f3a',
  'simd-vex128-0f',
  'simd-vex128-0f38',
  'simd-vex128-0f3a',
  'simd-vex256-0f',
  'simd-vex256-0f38',
  'simd-vex256-0f3a',
] as const;

export function simdGroups(describe: Describe): Map<string, WideForm[]> {
  const groups = new Map<string, WideForm[]>(SIMD_GROUPS.map((group) => [group, []]));
  for (const form of simdForms(describe)) {
    const encoding = form.vex ? `vex${form.l ? 256 : 128}` : 'legacy';
    groups.get(`simd-${encoding}-${['', '0f', '0f38', '0f3a'][form.map] ?? ''}`)?.push(form);
  }
  return groups;
}

export function x87Groups(): Map<string, WideForm[]> {
  return new Map([...x87Forms(), ['images', imageForms()]]);
}
