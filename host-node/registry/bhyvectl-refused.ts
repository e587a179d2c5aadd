/** Options of bhyvectl(8) that have no counterpart here, each with the reason. */

const VMX = 'VMX hardware runs no part of this machine';
const SVM = 'SVM hardware runs no part of this machine';
const HARDWARE = 'no hardware virtualization runs any part of this machine';

const VMCS_FIELDS = [
  ...['pinbased-ctls', 'procbased-ctls', 'procbased-ctls2', 'entry-interruption-info', 'guest-physical-address'],
  ...['guest-linear-address', 'host-pat', 'host-cr0', 'host-cr3', 'host-cr4', 'host-rip', 'host-rsp', 'cr0-mask'],
  ...['cr0-shadow', 'cr4-mask', 'cr4-shadow', 'cr3-targets', 'apic-access-address', 'virtual-apic-address'],
  ...['tpr-threshold', 'vpid', 'instruction-error', 'exit-ctls', 'entry-ctls', 'link', 'exit-qualification'],
  ...['exit-inst-length', 'exit-interruption-info', 'exit-interruption-error', 'interruptibility'],
] as const;

function each(names: readonly string[], reason: string): [name: string, reason: string][] {
  return names.map((name) => [name, reason]);
}

/** By option; the reason completes "--NAME: ". */
export const REFUSED_OPTIONS: ReadonlyMap<string, string> = new Map([
  ...each(
    VMCS_FIELDS.map((field) => `get-vmcs-${field}`),
    VMX,
  ),
  ...each(['set-vmcs-entry-interruption-info', 'get-apic-access-address', 'get-virtual-apic-address'], VMX),
  ...each(
    ['intercepts', 'asid', 'exit-details', 'tlb-ctrl', 'virq'].map((field) => `get-vmcb-${field}`),
    SVM,
  ),
  ...each(['get-avic-apic-bar', 'get-avic-backing-page', 'get-avic-table'], SVM),
  ...each(['get-eptp', 'get-gpa-pmap', 'get-exit-reason', 'get-intinfo'], HARDWARE),
  ...each(['get-exception-bitmap', 'set-exception-bitmap'], HARDWARE),
  ...each(['get-io-bitmap-address', 'get-msr-bitmap', 'get-msr-bitmap-address'], HARDWARE),
  ['run', 'the processors of this machine run by themselves'],
  ['set-mem', 'memory is what bhyve -m says, and cannot be changed'],
  ['setcap', 'what a processor can do is decided when the machine is started'],
  ['set-x2apic-state', 'bhyve -x decides it when the machine is started'],
  ['assert-lapic-lvt', 'local interrupts cannot be raised from outside; --inject-nmi raises an NMI'],
  ['unassign-pptdev', 'no devices of the host are passed through'],
]);
