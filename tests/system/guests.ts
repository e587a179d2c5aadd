/** The assembled guests, and where QEMU's TCG differs from the processor that the SDM describes. */

export interface SystemGuest {
  readonly name: string;
  /** How the machine ends; by default the guest exits by port 0xF4. */
  readonly ends?: 'exit' | 'triplefault';
  /**
   * The expectation was written from the manuals, since QEMU cannot serve: it accepts what a processor refuses, and the guest would
   * not survive that. Other guests' expectations were recorded.
   */
  readonly writtenFromManuals?: boolean;
  /** Processors; one by default. */
  readonly vcpus?: number;
  /** Further words of the command line. */
  readonly args?: readonly string[];
  /** Lines in which the recorded QEMU is wrong, in the order in which they come. */
  readonly deviations?: readonly Deviation[];
}

export interface Deviation {
  /** What QEMU 7.2 prints. */
  readonly qemu: string;
  /** What is right, and expected. */
  readonly right: string;
  readonly why: string;
}

const LIMITS = 'TCG checks neither limits nor types of segments at the access (SDM volume 3, 5.3 and 5.5)';
const RESERVED = 'a reserved bit is found in a present entry, so P is set with RSVD (SDM volume 3, 4.7)';
const RESUME_FLAG = 'the image of RFLAGS that a fault pushes has RF set (SDM volume 3, 17.3.1.1)';
const IDT_ERROR_64 =
  'the error code is the vector times 8 in long mode, too, and EXT is set for an exception (SDM volume 3, 6.13)';
const NOT_IMPLEMENTED = 'TCG of QEMU 7.2 does not implement it';

function limit(name: string, right = 'vector d error 0 at +0'): Deviation {
  return { qemu: `${name}: ok`, right: `${name}: ${right}`, why: LIMITS };
}

function reserved(name: string, code: number, rest: string): Deviation {
  const line = (error: number): string => `${name}: vector e error ${error.toString(16)} ${rest}`;
  return { qemu: line(code), right: line(code | 1), why: RESERVED };
}

export const SYSTEM_GUESTS: readonly SystemGuest[] = [
  { name: 'modes' },
  { name: 'segments' },
  {
    name: 'limits',
    deviations: [
      limit('one past the limit'),
      limit('far past the limit'),
      limit('end of the address space'),
      limit('past the page limit'),
      limit('expand-down below'),
      limit('expand-down at the limit'),
      limit('expand-down 16 above 64K'),
      limit('null'),
      limit('write to read-only'),
      limit('write to code'),
      limit('write through cs'),
      limit('read of execute-only code'),
      limit('pop across the limit', 'vector c error 0 at +7'),
      limit('ebp beyond ss', 'vector c error 0 at +11'),
      limit('esp beyond ss', 'vector c error 0 at +c'),
      { qemu: 'ltr null: ok', right: 'ltr null: vector d error 0 at +2', why: NOT_IMPLEMENTED },
      limit('clflush past the limit', 'vector d error 0 at +7'),
    ],
  },
  { name: 'gates' },
  {
    name: 'tasks',
    deviations: [
      { qemu: 'traps=0', right: 'traps=1', why: NOT_IMPLEMENTED },
      { qemu: 'dr6=0', right: 'dr6=8000', why: NOT_IMPLEMENTED },
      { qemu: 'at=ffffffff', right: 'at=0', why: NOT_IMPLEMENTED },
    ],
  },
  {
    name: 'v8086',
    deviations: [
      {
        qemu: "word across the segment's end: vector d error 0 at +3",
        right: "word across the segment's end: vector d error 0 at +0",
        why: LIMITS,
      },
    ],
  },
  {
    name: 'syscall',
    deviations: [
      {
        qemu: 'flags in kernel=2',
        right: 'flags in kernel=46',
        why: 'SYSCALL clears the flags of IA32_FMASK and no others (SDM volume 2, SYSCALL)',
      },
    ],
  },
  {
    name: 'paging',
    deviations: [
      reserved('reserved bit 51', 8, 'at +a cr2 8000004000'),
      reserved('reserved bit 51 write', 0xa, 'at +a cr2 8000004008'),
      reserved('reserved bit 51 user', 0xc, 'at +0 cr2 8000004000'),
      reserved('2 MiB page with bit 13', 8, 'at +0 cr2 8000200000'),
      reserved('1 GiB page with bit 13', 8, 'at +0 cr2 8040000000'),
      reserved('pml4e with bit 7', 8, 'at +a cr2 18000000000'),
      {
        qemu: 'non-canonical by rbp: vector d error 0 at +0',
        right: 'non-canonical by rbp: vector c error 0 at +0',
        why: 'a non-canonical address by RBP or RSP is #SS, as recorded in tests/vectors',
      },
    ],
  },
  {
    name: 'paging32',
    deviations: [
      reserved('4 MiB page with bit 21', 8, 'at +0 cr2 10400000'),
      reserved('reserved bit 51', 8, 'at +0 cr2 10003000'),
      reserved('bit 63 without NXE', 8, 'at +0 cr2 10002000'),
    ],
  },
  { name: 'control', writtenFromManuals: true },
  { name: 'resume', writtenFromManuals: true },
  {
    name: 'doublefault',
    deviations: [
      {
        qemu: '#UD, then #NP for its gate: vector b error 62 at +0',
        right: '#UD, then #NP for its gate: vector b error 33 at +0',
        why: IDT_ERROR_64,
      },
      {
        qemu: 'int3 through an absent gate: vector b error 32 at +0',
        right: 'int3 through an absent gate: vector b error 1a at +0',
        why: IDT_ERROR_64,
      },
      {
        qemu: '#UD, then #GP for its gate: vector d error 0 at +0',
        right: '#UD, then #GP for its gate: vector d error 1 at +0',
        why: IDT_ERROR_64,
      },
    ],
  },
  { name: 'triplefault', ends: 'triplefault' },
  {
    name: 'debug',
    deviations: [
      { qemu: 'general detect dr6=0', right: 'general detect dr6=2000', why: NOT_IMPLEMENTED },
      { qemu: 'GD after=2000', right: 'GD after=0', why: NOT_IMPLEMENTED },
      { qemu: 'icebp: vector 6 error 0 at +0', right: 'icebp: vector 1 error 0 at +1', why: NOT_IMPLEMENTED },
      {
        qemu: 'lock int3: vector 3 error 0 at +2',
        right: 'lock int3: vector 6 error 0 at +0',
        why: 'LOCK is refused by what cannot be locked (SDM volume 2, LOCK)',
      },
      { qemu: 'RF in the frame of a fault=0', right: 'RF in the frame of a fault=10000', why: RESUME_FLAG },
    ],
  },
  {
    name: 'shadows',
    deviations: [
      {
        qemu: 'first trap after sti=2',
        right: 'first trap after sti=1',
        why: 'STI delays interrupts; #DB is held back by a load of SS alone (SDM volume 3, 6.8.3)',
      },
      {
        qemu: '  dr6 1 cs 18 at +7',
        right: '  dr6 1 cs 18 at +8',
        why: 'a data breakpoint on the operand of MOV SS comes after the next instruction (SDM volume 3, 6.8.3)',
      },
    ],
  },
  { name: 'traps', writtenFromManuals: true },
  { name: 'interrupts' },
  { name: 'locked', vcpus: 2 },
  { name: 'amd', args: ['-o', 'cpu.vendor=amd'], writtenFromManuals: true },
  { name: 'smc' },
  {
    name: 'memory',
    deviations: [
      {
        qemu: 'xchg: vector e error 0 at +0 cr2 8000002000',
        right: 'xchg: vector e error 2 at +0 cr2 8000002000',
        why: 'an instruction that reads and writes its operand faults as a write, as recorded in tests/vectors',
      },
      {
        qemu: 'unaligned access with AC: vector 3 error 0 at +d',
        right: 'unaligned access with AC: vector 11 error 0 at +9',
        why: NOT_IMPLEMENTED,
      },
      {
        qemu: 'clflush of nothing: ok',
        right: 'clflush of nothing: vector e error 0 at +0 cr2 8000002000',
        why: 'CLFLUSH is checked as a load is (SDM volume 2, CLFLUSH)',
      },
    ],
  },
  {
    name: 'fpu',
    deviations: [
      { qemu: '1 / 0 unmasked: ok', right: '1 / 0 unmasked: vector 10 error 0 at +d', why: NOT_IMPLEMENTED },
      {
        qemu: 'mmx with an error pending: ok',
        right: 'mmx with an error pending: vector 10 error 0 at +0',
        why: NOT_IMPLEMENTED,
      },
      { qemu: '1.0 / 0.0 unmasked: ok', right: '1.0 / 0.0 unmasked: vector 13 error 0 at +0', why: NOT_IMPLEMENTED },
      { qemu: 'destination kept=7f800000', right: 'destination kept=3f800000', why: NOT_IMPLEMENTED },
      { qemu: 'without OSXMMEXCPT: ok', right: 'without OSXMMEXCPT: vector 6 error 0 at +0', why: NOT_IMPLEMENTED },
      { qemu: 'mxcsr=1f80', right: 'mxcsr=1f84', why: 'the operand was still 1.0: the exceptions before came' },
      { qemu: 'mxcsr reserved bit: ok', right: 'mxcsr reserved bit: vector d error 0 at +b', why: NOT_IMPLEMENTED },
      { qemu: 'underflow status=0', right: 'underflow status=41', why: NOT_IMPLEMENTED },
      { qemu: 'indefinite=0', right: 'indefinite=fff8000000000000', why: NOT_IMPLEMENTED },
      { qemu: 'overflow status=3800', right: 'overflow status=3a41', why: NOT_IMPLEMENTED },
    ],
  },
  {
    name: 'cpuid',
    deviations: [
      {
        qemu: 'no SYSCALL outside 64-bit mode: no',
        right: 'no SYSCALL outside 64-bit mode: yes',
        why: "Intel's processors show it in 64-bit mode alone (SDM volume 2, CPUID)",
      },
    ],
  },
];

/** QEMU's text with its deviations replaced by what is right. Throws when one of them is not there: QEMU changed. */
export function corrected(guest: SystemGuest, qemuText: string): string {
  const lines = qemuText.split('\n');
  let from = 0;
  for (const { qemu, right } of guest.deviations ?? []) {
    // A later QEMU may do what this one does not: a line that is right already stays.
    const at = lines.findIndex((line, index) => index >= from && (line === qemu || line === right));
    if (at < 0) throw new Error(`${guest.name}: QEMU printed neither "${qemu}" nor "${right}"`);
    lines[at] = right;
    from = at + 1;
  }
  return lines.join('\n');
}
