/**
 * What compiled code costs, without a clock: bytes of WebAssembly and operations that the translator makes of a fixed set of loops. A change
 * that makes them larger fails here; one that makes them smaller by more than a tenth asks for the new numbers. LEDGER=1 prints the table.
 */
import { describe, expect, test } from 'vitest';
import { compileCore } from '../support/compile-core.ts';
import { type ModuleSize, moduleSize } from '../support/wasm-operations.ts';
import { drawInput, start } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { UserMachine } from '../vectors/user-machine.ts';

const OFFSET = 0x100;
const BUDGET_INSNS = 100;

/** A loop: its instructions, machine code without the jump back to its start, and what was made of it when this was written. */
type Entry = readonly [name: string, instructions: number, code: string, bytes: number, operations: number];

// prettier-ignore
const LEDGER: readonly Entry[] = [
  // add rax,rcx; xor rdx,rax; lea rsi,[rax+rdx*4+8]; sub rcx,1
  ['registers', 4, '4801c8 4831c2 488d749008 4883e901', 255, 111],
  // mov rax,[rbx]; add rax,[rbx+8]; mov [rbx+16],rax; mov ecx,[rbx+24]
  ['fields of one structure', 4, '488b03 48034308 48894310 8b4b18', 282, 121],
  // mov rax,[rbx]; mov rcx,[rsi]; mov [rdi],rax; mov [r8],rcx
  ['four pointers', 4, '488b03 488b0e 488907 498908', 450, 205],
  // push rbp; mov rbp,rsp; push rbx; mov [rbp-24],rdi; pop rbx; pop rbp
  ['a stack frame', 6, '55 4889e5 53 48897de8 5b 5d', 333, 147],
  // cmp rax,rcx; setl dl; test rsi,rsi; cmovne rdi,rax; bt rcx,5; adc rax,0
  ['flags', 6, '4839c8 0f9cc2 4885f6 480f45f8 480fbae105 4883d000', 370, 181],
  // cmp eax,10; jl +2; inc ecx; test ecx,ecx; je +3; add rdx,rcx
  ['branches', 6, '83f80a 7c02 ffc1 85c9 7403 4801ca', 355, 154],
  // movzx eax,byte [rbx]; inc rbx; movsx ecx,word [rsi+2]; mov [rdi],al; add byte [rdi+1],5
  ['bytes', 5, '0fb603 48ffc3 0fbf4e02 8807 80470105', 533, 249],
  // imul rax,rcx; shl rdx,7; sar rsi,3; ror edi,9; mul r8; bsf r9,rax
  ['products and shifts', 6, '480fafc1 48c1e207 48c1fe03 c1cf09 49f7e0 4c0fbcc8', 537, 251],
  // mulx rax,rcx,[rsi]; adcx rcx,rbx; adox rax,r8; mulx r9,r10,r11; adcx r10,[rdi]; adox r9,rbp
  ['products with two carries', 6, 'c4e2f3f606 66480f38f6cb f3490f38f6c0 c442abf6cb 664c0f38f617 f34c0f38f6cd', 860, 421],
  // bzhi rax,rbx,rcx; shld rdx,rsi,cl; shrd edi,eax,cl; cld
  ['bits by a register', 4, 'c4e2f0f5c3 480fa5f2 0fadc7 fc', 461, 222],
  // lock xadd [rbx],rax; lock cmpxchg [rbx],rcx; xchg [rsi],rdx
  ['atomic operations', 3, 'f0480fc103 f0480fb10b 488716', 430, 191],
  // movdqu xmm0,[rbx]; pcmpeqb xmm0,[rsi]; pmovmskb eax,xmm0; paddb xmm1,xmm0; movdqu [rdi],xmm1
  ['SSE2', 5, 'f30f6f03 660f7406 660fd7c0 660ffcc8 f30f7f0f', 471, 205],
  // vmovdqu ymm0,[rbx]; vpcmpeqb ymm1,ymm0,[rsi]; vpmovmskb eax,ymm1; vmovdqu [rdi],ymm1
  ['AVX2', 4, 'c5fe6f03 c5fd740e c5fdd7c1 c5fe7f0f', 507, 217],
  // cvtsi2sd xmm0,eax; addsd xmm0,[rbx]; mulsd xmm1,xmm0; ucomisd xmm0,xmm1; movsd [rdi],xmm1
  ['doubles', 5, 'f20f2ac0 f20f5803 f20f59c8 660f2ec1 f20f110f', 692, 341],
  // movupd xmm0,[rbx]; mulpd xmm0,xmm1; addpd xmm2,xmm0; divps xmm3,xmm4; minpd xmm5,xmm6
  ['packed floating point', 5, '660f1003 660f59c1 660f58d0 0f5edc 660f5dee', 928, 334],
  // pshufd xmm0,xmm1,0x1b; shufps xmm2,xmm3,0x44; palignr xmm4,xmm5,5; punpckldq xmm6,xmm7; pmovzxbw xmm0,xmm1; pmuludq xmm2,xmm3
  ['shuffles', 6, '660f70c11b 0fc6d344 660f3a0fe505 660f62f7 660f3830c1 660ff4d3', 419, 116],
];

/** Loops of 32-bit code. */
// prettier-ignore
const NARROW_LEDGER: readonly Entry[] = [
  // add eax,ecx; xor edx,eax; lea esi,[eax+edx*4+8]; inc edi; dec ecx
  ['registers', 5, '01c8 31c2 8d749008 47 49', 364, 153],
  // mov eax,[ebx]; add eax,[ebx+4]; mov [ebx+8],eax; mov ecx,[ebx+12]; mov edx,[0x10010000]
  ['fields of one structure', 5, '8b03 034304 894308 8b4b0c 8b1500000110', 403, 177],
  // push ebp; mov ebp,esp; push ebx; mov [ebp-12],edi; push dword [ebp-12]; pop ebx; add esp,4; leave
  ['a stack frame', 8, '55 89e5 53 897df4 ff75f4 5b 83c404 c9', 459, 203],
  // mov eax,gs:[0x14]; add fs:[ebx],ecx; movzx edx,byte [esi]; mov [edi+ecx],dl
  ['segments and bytes', 4, '65a114000000 64010b 0fb616 88140f', 626, 290],
];

/** Numbers may be smaller by so much before they have to be written again. */
const SMALLER = 0.9;

describe.each([
  ['64-bit code', false, LEDGER],
  ['32-bit code', true, NARROW_LEDGER],
] as const)('bytes and operations of %s', async (_code, compatibility, ledger) => {
  const module = await compileCore();
  test.each(ledger)('%s', (name, instructions, code, bytes, operations) => {
    const machine = new UserMachine(module, true, 0, compatibility);
    const body = Buffer.from(code.replaceAll(' ', ''), 'hex');
    // JMP to the start.
    const loop = Buffer.concat([body, Buffer.from([0xeb, -(body.length + 2) & 0xff])]);
    let found: ModuleSize | undefined;
    machine.writeCode(OFFSET, loop, loop.length);
    // The first one is the loop's. It may then fault: the registers point anywhere, which the translator does not look at.
    machine.onModule = (compiled) => (found ??= moduleSize(compiled));
    start(machine, { ...drawInput(new Prng(7)), taskSwitched: false }, OFFSET);
    machine.core.run(BUDGET_INSNS);
    if (!found) throw new Error('nothing was compiled');
    if (process.env.LEDGER === '1') {
      const each = (found.bodyBytes / instructions).toFixed(1);
      process.stdout.write(`${name}: ${found.bodyBytes} bytes, ${found.operations} operations, ${each} bytes each\n`);
    }
    expect(found.functions).toBe(1);
    expect(found.bodyBytes).toBeLessThanOrEqual(bytes);
    expect(found.operations).toBeLessThanOrEqual(operations);
    expect(found.bodyBytes, 'smaller now: write the new number down').toBeGreaterThanOrEqual(bytes * SMALLER);
    expect(found.operations, 'smaller now: write the new number down').toBeGreaterThanOrEqual(operations * SMALLER);
  });
});
