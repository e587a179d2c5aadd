; Values that control registers and model-specific registers must refuse (SDM volume 3, 2.5, 5.1, 4.1.1; volume 4, chapter 2). QEMU's TCG
; accepts most of them, so the expectation comes from the SDM.
%include "common.nasm"

        bits 32
main:
        LINE "control"
        call load_tss32
        TRY
        mov eax, cr0
        and eax, ~1
        or eax, 0x80000000
        mov cr0, eax
        TRIED "PG without PE"
        TRY
        mov eax, cr0
        or eax, 0x20000000
        and eax, ~0x40000000
        mov cr0, eax
        TRIED "NW without CD"
        TRY
        mov eax, cr4
        or eax, 0x80000000
        mov cr4, eax
        TRIED "cr4 bit 31"
        mov eax, TABLES
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x100
        wrmsr
        TRY
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        TRIED "PG with LME and without PAE"
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~0x100
        wrmsr
        TRY
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x2
        wrmsr
        TRIED "efer bit 1"
        TRY
        db 0xf0
        mov eax, cr0                    ; CR8 on AMD's processors
        TRIED "lock mov from cr0"
        TRY
        mov eax, cr1
        TRIED "mov from cr1"
        TRY
        mov cr5, eax
        TRIED "mov to cr5"
        LONG go
        bits 64
go:
        TRY
        mov rax, cr4
        btr rax, 5
        mov cr4, rax
        TRIED "clearing PAE in long mode"
        TRY
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~0x100
        wrmsr
        TRIED "clearing LME with paging"
        TRY
        mov rax, cr0
        bts rax, 32
        mov cr0, rax
        TRIED "cr0 bit 32"
        TRY
        mov rax, cr0
        btr rax, 31
        mov cr0, rax
        TRIED "clearing PG in 64-bit mode"
        TRY
        mov rax, cr3
        bts rax, 62
        mov cr3, rax
        TRIED "cr3 bit 62"
        ; refused as well where there is no PCIDE
        TRY
        mov rax, cr3
        or rax, 1
        mov cr3, rax
        mov rax, cr4
        bts rax, 17
        mov cr4, rax
        TRIED "PCIDE with a PCID in CR3"
        mov eax, PML4
        mov cr3, rax
        TRY
        mov eax, 0x10
        mov cr8, rax
        TRIED "cr8 0x10"
        TRY
        mov eax, 0x0f
        mov cr8, rax
        xor eax, eax
        mov cr8, rax
        TRIED "cr8 0x0f"
%macro REFUSE 4                         ; name, msr, high, low
        TRY
        mov ecx, %2
        mov edx, %3
        mov eax, %4
        wrmsr
        TRIED %1
%endmacro
        REFUSE "fs base non-canonical", 0xc0000100, 0x00008000, 0
        REFUSE "gs base non-canonical", 0xc0000101, 0xffff0000, 0
        REFUSE "kernel gs base non-canonical", 0xc0000102, 0x7fffffff, 0
        REFUSE "lstar non-canonical", 0xc0000082, 0x00008000, 0
        REFUSE "cstar non-canonical", 0xc0000083, 0x00008000, 0
        REFUSE "sysenter esp non-canonical", 0x175, 0x00008000, 0
        REFUSE "sysenter eip non-canonical", 0x176, 0x00008000, 0
        REFUSE "sysenter eip", 0x176, 0, 0
        REFUSE "pat of type 2", 0x277, 0x00070106, 0x00070102
        REFUSE "pat of type 3", 0x277, 0x00070106, 0x00070103
        REFUSE "pat", 0x277, 0x00070406, 0x00070406
        REFUSE "mtrr cap", 0xfe, 0, 0x50a
        REFUSE "fixed mtrr of type 2", 0x250, 0x06060606, 0x06060206
        REFUSE "fixed mtrr of type 7", 0x26f, 0x07060606, 0x06060606
        REFUSE "fixed mtrr", 0x26f, 0x06060606, 0x06060606
        REFUSE "mtrr default of type 3", 0x2ff, 0, 0xc03
        REFUSE "mtrr default bit 12", 0x2ff, 0, 0x1c06
        REFUSE "mtrr default", 0x2ff, 0, 0xc06
        REFUSE "variable mtrr base of type 7", 0x202, 0, 0x10000007
        REFUSE "variable mtrr base bit 8", 0x202, 0, 0x10000100
        REFUSE "variable mtrr base bit 40", 0x202, 0x100, 0x10000000
        REFUSE "variable mtrr base", 0x202, 0, 0x10000006
        REFUSE "variable mtrr mask bit 0", 0x203, 0xff, 0xf0000801
        REFUSE "variable mtrr mask bit 40", 0x203, 0x1ff, 0xf0000800
        REFUSE "variable mtrr mask", 0x203, 0xff, 0xf0000000
        REFUSE "apic base reserved", 0x1b, 0xffff0000, 0xfee00900
        REFUSE "unknown msr", 0x4fffffff, 0, 0
        TRY
        mov ecx, 0x4fffffff
        rdmsr
        TRIED "rdmsr of an unknown msr"
        TRY
        mov rax, 0x100000000
        mov dr7, rax
        TRIED "dr7 bit 32"
        TRY
        mov rax, 0x100000000
        mov dr6, rax
        TRIED "dr6 bit 32"
        mov rax, cr4
        bts rax, 3
        mov cr4, rax
        TRY
        db 0x0f, 0x21, 0xe0             ; mov rax, dr4
        TRIED "dr4 with DE"
        mov rax, cr4
        btr rax, 3
        mov cr4, rax
        TRY
        db 0x0f, 0x21, 0xe0             ; mov rax, dr4
        TRIED "dr4 without DE"
        TRY
        mov rax, cr4
        bts rax, 18
        mov cr4, rax
        xor ecx, ecx
        xor edx, edx
        mov eax, 2
        xsetbv
        TRIED "xcr0 without x87"
        TRY
        xor ecx, ecx
        xor edx, edx
        mov eax, 5
        xsetbv
        TRIED "xcr0 avx without sse"
        TRY
        mov ecx, 1
        xor edx, edx
        mov eax, 3
        xsetbv
        TRIED "xsetbv of xcr1"
        TRY
        mov ecx, 0x808
        rdmsr
        TRIED "x2APIC register in xAPIC mode"
        TRY
        mov rax, 0x0000800000000000
        jmp rax
        TRIED "jump to a non-canonical address"
        TRY
        mov rax, 0x0000800000000000
        call rax
        TRIED "call of a non-canonical address"
        TRY
        mov rax, 0x0000800000000000
        push rax
        ret
        TRIED "return to a non-canonical address"
        TRY
        mov rax, 0x0000800000000000
        push rax
        ret 8
        TRIED "return to a non-canonical address with arguments"
        mov ecx, 0x1b
        rdmsr
        and eax, ~0x800
        wrmsr
        mov eax, 1
        cpuid
        and edx, 0x200
        SHOW "APIC in CPUID while disabled", rdx
        mov ecx, 0x1b
        rdmsr
        or eax, 0x800
        wrmsr
        mov eax, 1
        cpuid
        and edx, 0x200
        SHOW "APIC in CPUID while enabled", rdx
        mov ecx, 0x1a0                   ; IA32_MISC_ENABLE keeps what may be written, and bits 7, 11 and 12
        rdmsr
        mov r8, rax
        mov edx, 4
        mov eax, 0x00c50009
        wrmsr
        rdmsr
        xor eax, r8d
        SHOW "misc enable high", rdx
        SHOW "misc enable low changed", rax

        ; the local APIC's timer by deadline
        mov dword [hooks + 0x61 * 4], on_timer
        mov dword [abs LOCAL_APIC + 0xf0], 0x1ff
        mov ecx, 0x6e0
        mov eax, -1
        xor edx, edx
        wrmsr                           ; no deadline in another mode
        rdmsr
        SHOW "deadline in one-shot mode", rax
        mov dword [abs LOCAL_APIC + 0x320], 0x40061
        mov dword [abs LOCAL_APIC + 0x380], 1   ; the count has no part in this mode
        call .patience
        SHOW "count in deadline mode", [ticks]
        rdtsc
        add eax, 10000
        adc edx, 0
        mov ecx, 0x6e0
        wrmsr
        call .patience
        SHOW "deadline", [ticks]
        rdmsr
        or rax, rdx
        SHOW "deadline after", rax
        mov eax, 1
        xor edx, edx
        wrmsr                           ; in the past
        call .patience
        SHOW "deadline in the past", [ticks]
        rdtsc
        add edx, 1
        mov ecx, 0x6e0
        wrmsr
        rdmsr
        test edx, edx
        setnz al
        movzx eax, al
        SHOW "deadline kept", rax
        mov dword [abs LOCAL_APIC + 0x320], 0x00061
        mov ecx, 0x6e0
        rdmsr
        or rax, rdx
        SHOW "deadline after another mode", rax
        call .patience
        SHOW "no more", [ticks]
        LINE "end"
        EXIT
.patience:
        sti
        mov r9d, 1000000
.spin:  pause
        dec r9d
        jnz .spin
        cli
        ret
on_timer:
        inc qword [ticks]
        mov dword [abs LOCAL_APIC + 0xb0], 0
        ret
        align 8
ticks:  dq 0
