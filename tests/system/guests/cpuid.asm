; CPUID agrees with itself and with what the processor does. Only whether it does is printed.
%include "common.nasm"

        bits 32
%macro CHECK 2                          ; text, condition that must hold (jump suffix)
        j%2 %%good
        LINE %1, ": no"
        jmp %%end
%%good: LINE %1, ": yes"
%%end:
%endmacro
main:
        LINE "cpuid"
        ; ID flag can be toggled
        pushfd
        pop eax
        mov ecx, eax
        xor eax, 0x200000
        push eax
        popfd
        pushfd
        pop eax
        xor eax, ecx
        test eax, 0x200000
        CHECK "ID flag toggles", nz
        mov eax, 0x80000001
        cpuid
        test edx, 1 << 11
        CHECK "no SYSCALL outside 64-bit mode", z
        LONG go
        bits 64
; IMPLIES "text", word, bit, word, bit: the first bit set means that the second one is
%macro IMPLIES 5
        mov eax, [%2]
        shr eax, %3
        and eax, 1
        mov ecx, [%4]
        shr ecx, %5
        and ecx, 1
        cmp eax, ecx
        CHECK %1, be
%endmacro
leaf1_c         equ SCRATCH
leaf1_d         equ SCRATCH + 4
leaf7_b         equ SCRATCH + 8
ext1_c          equ SCRATCH + 12
ext1_d          equ SCRATCH + 16
max_leaf        equ SCRATCH + 20
max_ext         equ SCRATCH + 24
go:
        xor eax, eax
        cpuid
        mov [max_leaf], eax
        cmp eax, 7
        CHECK "leaf 7 exists", ae
        mov eax, 0x80000000
        cpuid
        mov [max_ext], eax
        cmp eax, 0x80000008
        CHECK "extended leaf 8 exists", ae
        mov eax, 1
        cpuid
        mov [leaf1_c], ecx
        mov [leaf1_d], edx
        mov eax, 7
        xor ecx, ecx
        cpuid
        mov [leaf7_b], ebx
        mov eax, 0x80000001
        cpuid
        mov [ext1_c], ecx
        mov [ext1_d], edx
        mov eax, 0x80000008
        cpuid
        movzx ecx, ah
        cmp ecx, 48
        CHECK "48 bits of linear address or more", ae
        movzx ecx, al
        cmp ecx, 36
        CHECK "36 bits of physical address or more", ae
        mov rax, 0xffffffff00000001
        mov rbx, -1
        mov rcx, 0xffffffff00000000
        mov rdx, -1
        cpuid
        mov r8, rax
        or r8, rbx
        or r8, rcx
        or r8, rdx
        shr r8, 32
        CHECK "upper halves are cleared", z
        IMPLIES "sse2 means sse", leaf1_d, 26, leaf1_d, 25
        IMPLIES "sse means fxsr", leaf1_d, 25, leaf1_d, 24
        IMPLIES "sse3 means sse2", leaf1_c, 0, leaf1_d, 26
        IMPLIES "ssse3 means sse3", leaf1_c, 9, leaf1_c, 0
        IMPLIES "sse4.1 means ssse3", leaf1_c, 19, leaf1_c, 9
        IMPLIES "sse4.2 means sse4.1", leaf1_c, 20, leaf1_c, 19
        IMPLIES "avx means xsave", leaf1_c, 28, leaf1_c, 26
        IMPLIES "fma means avx", leaf1_c, 12, leaf1_c, 28
        IMPLIES "f16c means avx", leaf1_c, 29, leaf1_c, 28
        IMPLIES "avx2 means avx", leaf7_b, 5, leaf1_c, 28
        IMPLIES "bmi2 means bmi1", leaf7_b, 8, leaf7_b, 3
        IMPLIES "1 GiB pages mean long mode", ext1_d, 26, ext1_d, 29
        IMPLIES "long mode means pae", ext1_d, 29, leaf1_d, 6
        IMPLIES "long mode means sse2", ext1_d, 29, leaf1_d, 26
        mov eax, [leaf1_d]
        and eax, 0x07808371
        cmp eax, 0x07808371             ; FPU TSC MSR PAE CX8 APIC CMOV MMX FXSR SSE SSE2 (and PSE's neighbours)
        CHECK "baseline of x86-64", e
        mov eax, [ext1_d]
        and eax, 0x20100800
        cmp eax, 0x20100800
        CHECK "SYSCALL, NX, LM", e
        ; what is said to be there executes
        mov eax, [leaf1_c]
        bt eax, 27
        setc al
        mov rcx, cr4
        shr rcx, 18
        and ecx, 1
        cmp al, cl
        CHECK "OSXSAVE shows CR4 (clear)", e
        mov eax, [leaf1_c]
        bt eax, 26
        jnc .no_xsave
        mov rax, cr4
        bts rax, 18
        mov cr4, rax
        mov eax, 1
        cpuid
        bt ecx, 27
        CHECK "OSXSAVE shows CR4 (set)", c
        xor ecx, ecx
        xgetbv
        and eax, 1
        cmp eax, 1
        CHECK "xcr0 has x87", e
        mov eax, 0xd
        xor ecx, ecx
        cpuid
        and eax, 3
        cmp eax, 3
        CHECK "leaf 0xd knows x87 and sse", e
        cmp ecx, 576
        CHECK "xsave area is large enough", ae
        mov eax, 0xd
        xor ecx, ecx
        cpuid
        cmp ebx, 576
        CHECK "with x87 alone it is 576 bytes", e
.no_xsave:
%macro RUNS 4                           ; text, where, bit, code
        mov eax, [%2]
        bt eax, %3
        jnc %%end
        TRY
        %4
        TRIED %1
%%end:
%endmacro
        RUNS "popcnt", leaf1_c, 23, {popcnt eax, eax}
        RUNS "movbe", leaf1_c, 22, {movbe eax, [SCRATCH]}
        RUNS "cmpxchg16b", leaf1_c, 13, {cmpxchg16b [SCRATCH + 0x40]}
        RUNS "rdtsc", leaf1_d, 4, rdtsc
        RUNS "crc32", leaf1_c, 20, {crc32 eax, ecx}
        RUNS "pclmulqdq", leaf1_c, 1, {pclmulqdq xmm0, xmm1, 0}
        RUNS "aesenc", leaf1_c, 25, {aesenc xmm0, xmm1}
        RUNS "lzcnt", ext1_c, 5, {lzcnt eax, eax}
        RUNS "lahf", ext1_c, 0, lahf
        RUNS "rdtscp", ext1_d, 27, rdtscp
        RUNS "andn", leaf7_b, 3, {andn eax, ecx, edx}
        RUNS "pdep", leaf7_b, 8, {pdep eax, ecx, edx}
        RUNS "clflush", leaf1_d, 19, {clflush [SCRATCH]}
        ; two readings of the time-stamp counter
        rdtsc
        shl rdx, 32
        or rax, rdx
        mov r8, rax
        mov ecx, 1000
.spin:  dec ecx
        jnz .spin
        rdtsc
        shl rdx, 32
        or rax, rdx
        cmp rax, r8
        CHECK "time goes on", a
        LINE "end"
        EXIT
