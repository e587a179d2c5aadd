/** Every general-purpose user-mode instruction form that has vectors, by the file its vectors lie in. */
import { aluForms, arithmeticForms } from './forms/alu.ts';
import { controlForms, faultForms } from './forms/control.ts';
import type { Form } from './forms/form.ts';
import { conditionalForms, miscellaneousForms, moveForms } from './forms/move.ts';
import { bitForms, shiftForms } from './forms/shift.ts';
import { stringForms } from './forms/string.ts';

export { MINIMUM_VECTORS, type Form } from './forms/form.ts';

const GROUPS: Record<string, () => Iterable<Form>> = {
  alu: aluForms,
  arithmetic: arithmeticForms,
  shift: shiftForms,
  bit: bitForms,
  move: moveForms,
  conditional: conditionalForms,
  string: stringForms,
  control: controlForms,
  fault: faultForms,
  miscellaneous: miscellaneousForms,
};

/** Forms by group; a group's vectors lie in data/integer-GROUP.bin. */
export function formsByGroup(): Map<string, Form[]> {
  const groups = new Map<string, Form[]>();
  const seen = new Set<string>();
  for (const [group, forms] of Object.entries(GROUPS)) {
    const list = [...forms()];
    for (const { id } of list) {
      if (seen.has(id)) throw new Error(`two forms are called ${id}`);
      seen.add(id);
    }
    groups.set(group, list);
  }
  return groups;
}
