; SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS and the forms of IRETQ, in 64-bit mode.
%include "common.nasm"

; SYSCALL wants kernel CS, SS = CS + 8; SYSRET user SS = base + 8, CS = base + 16; SYSEXIT CS + 16/24 (32-bit), + 32/40 (64-bit).
S_BASE          equ FREE_SEL            ; kernel code, kernel data, user code 32, user data, user code 64, user data

        bits 32
main:
        LINE "syscall"
        LONG go

        bits 64
%macro WRITE_MSR 2
        mov ecx, %1
        mov rax, %2
        mov rdx, rax
        shr rdx, 32
        wrmsr
%endmacro

go:
        mov rax, 0x00af9b000000ffff
        mov [gdt + S_BASE], rax
        mov rax, 0x00cf93000000ffff
        mov [gdt + S_BASE + 8], rax
        mov rax, 0x00cffb000000ffff
        mov [gdt + S_BASE + 16], rax
        mov rax, 0x00cff3000000ffff
        mov [gdt + S_BASE + 24], rax
        mov rax, 0x00affb000000ffff
        mov [gdt + S_BASE + 32], rax
        mov rax, 0x00cff3000000ffff
        mov [gdt + S_BASE + 40], rax

        WRITE_MSR 0xc0000081, ((S_BASE + 16 + 3) << 48) | (S_BASE << 32)
        WRITE_MSR 0xc0000082, on_syscall
        WRITE_MSR 0xc0000084, 0x200 | 0x400 | 1   ; IF DF CF cleared
        mov [kernel_rsp], rsp

        ; SYSRET to ring 3, SYSCALL back
        mov rcx, user64
        mov r11, 0x247                  ; IF ZF PF CF
        mov rsp, USER_STACK_TOP
        o64 sysret
user64:
        pushfq
        pop r12
        mov r13d, cs
        mov r14d, ss
        std
        stc
        syscall
user64_after:
        hlt
on_syscall:
        mov rbx, rsp
        mov rsp, [kernel_rsp]
        pushfq
        pop r15
        mov ebp, cs
        mov edi, ss
        cld
        SHOW "user flags after sysret", r12
        SHOW "user cs", r13
        SHOW "user ss", r14
        sub rcx, user64_after
        SHOW "rcx minus next instruction", rcx
        SHOW "r11", r11
        SHOW "flags in kernel", r15
        SHOW "kernel cs", rbp
        SHOW "kernel ss", rdi
        SHOW "rsp kept by syscall", rbx

        ; SYSRET to 32-bit code
        WRITE_MSR 0xc0000082, on_syscall32
        mov [hooks + 0x80 * 4], dword 0
        or byte [idt64 + 0x80 * 16 + 5], 0x60
        TRY
        mov ecx, user32
        mov r11, 2
        sysret
        bits 32
user32:
        mov ebx, -1
        db 0x43                         ; INC EBX in 32-bit code, a REX prefix in 64-bit code
        mov edx, cs
        int 0x80
        bits 64
on_syscall32:
        TRIED "int 0x80 from 32-bit code"
        SHOW "ebx", rbx
        SHOW "cs in the frame", [exc_cs]
        SHOW "ss in the frame", [exc_ss]

        ; Not enabled
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~1
        wrmsr
        TRY
        syscall
        TRIED "syscall without SCE"
        TRY
        mov rcx, user64
        o64 sysret
        TRIED "sysret without SCE"
        mov ecx, 0xc0000080
        rdmsr
        or eax, 1
        wrmsr

        ; SYSENTER and SYSEXIT
        TRY
        sysenter
        TRIED "sysenter with cs 0"
        TRY
        sysexit
        TRIED "sysexit with cs 0"
        WRITE_MSR 0x174, S_BASE
        WRITE_MSR 0x175, STACK_TOP - 0x100
        WRITE_MSR 0x176, on_sysenter
        mov rdx, user_fast
        mov rcx, USER_STACK_TOP
        o64 sysexit
user_fast:
        mov r12d, cs
        mov r13d, ss
        mov r14, rsp
        stc
        sysenter
on_sysenter:
        pushfq
        pop r15
        and r15d, 0x20301
        mov ebx, cs
        mov ebp, ss
        mov rsi, rsp
        mov rsp, [kernel_rsp]
        SHOW "after sysexit cs", r12
        SHOW "after sysexit ss", r13
        SHOW "after sysexit rsp", r14
        SHOW "after sysenter cs", rbx
        SHOW "after sysenter ss", rbp
        SHOW "after sysenter rsp", rsi
        SHOW "after sysenter IF VM CF", r15

        ; SWAPGS
        WRITE_MSR 0xc0000102, 0x0000222200000000
        WRITE_MSR 0xc0000101, 0x0000111100000000
        swapgs
        mov ecx, 0xc0000101
        rdmsr
        SHOW "gs base after swapgs", rdx
        mov ecx, 0xc0000102
        rdmsr
        SHOW "kernel gs base after swapgs", rdx
        WRITE_MSR 0xc0000100, SCRATCH
        mov qword [SCRATCH + 8], 0x5a5a
        mov rax, [fs:8]
        SHOW "through fs", rax
        mov eax, DATA32
        mov fs, eax
        mov ecx, 0xc0000100
        rdmsr
        SHOW "fs base after a load", rax
        ; ring 3 may not use the segment, but its base stays
        WRITE_MSR 0xc0000100, SCRATCH
        xor ebx, ebx
        TRY
        push qword USER_DATA
        push qword USER_STACK_TOP
        push qword 2
        push qword USER_CODE64
        push qword .reads
        iretq
.reads: mov rbx, [fs:8]
        mov edx, fs
        int 0x80
        TRIED "int 0x80 from ring 3"
        SHOW "through fs in ring 3", rbx
        SHOW "fs in ring 3", rdx

        ; IRETQ: same privilege always pops SS:RSP in 64-bit mode
        mov r8, rsp
        push qword DATA32
        push r8
        push qword 0x44
        push qword CODE64
        push qword .same
        iretq
.same:  pushfq
        pop rax
        SHOW "flags after iretq", rax
        sub r8, rsp
        SHOW "rsp moved", r8
        ; to a null SS in ring 0
        mov r8, rsp
        push qword 0
        push r8
        push qword 2
        push qword CODE64
        push qword .null_ss
        iretq
.null_ss:
        mov eax, ss
        SHOW "ss null in ring 0", rax
        mov eax, DATA32
        mov ss, eax
        TRY
        push qword 3
        push qword USER_STACK_TOP
        push qword 2
        push qword USER_CODE64
        push qword .nowhere
        iretq
.nowhere:
        nop
        TRIED "iretq to ring 3 with a null ss"
        TRY
        push qword USER_DATA
        push qword USER_STACK_TOP
        push qword 2
        push qword USER_CODE64 - 3
        push qword .nowhere2
        iretq
.nowhere2:
        TRIED "iretq to dpl 3 with rpl 0"
        TRY
        push qword DATA32
        push qword USER_STACK_TOP
        push qword 2
        push qword USER_CODE64
        push qword .nowhere3
        iretq
.nowhere3:
        TRIED "iretq to ring 3 with a ring 0 ss"
        TRY
        push qword DATA32
        push r8
        push qword 2
        push qword 0
        push qword .nowhere4
        iretq
.nowhere4:
        TRIED "iretq to a null cs"
        TRY
        push qword DATA32
        push r8
        push qword 2
        push qword 0x7f8
        push qword .nowhere5
        iretq
.nowhere5:
        TRIED "iretq beyond the gdt"
        ; IRETQ with NT set is #GP in long mode
        TRY
        pushfq
        or dword [rsp], 0x4000
        popfq
        iretq
        TRIED "iretq with NT"
        ; 32-bit IRET in 64-bit mode
        mov r8, rsp
        sub rsp, 20
        mov dword [rsp], .iret32
        mov dword [rsp + 4], CODE64
        mov dword [rsp + 8], 2
        mov [rsp + 12], r8d
        mov dword [rsp + 16], DATA32
        iretd
.iret32:
        sub r8, rsp
        SHOW "rsp after iretd", r8
        ; the frame of an exception is aligned, whatever RSP was
        mov r8, rsp
        sub rsp, 3
        mov r9, rsp
        TRY
        ud2
        TRIED "ud2 with a stack that is not aligned"
        mov rax, [exc_handler_sp]
        and eax, 15
        SHOW "frame alignment", rax
        mov rax, [exc_sp]
        sub rax, r9
        SHOW "rsp in the frame", rax
        mov rsp, r8
        ; IST
        mov byte [idt64 + 6 * 16 + 4], 1
        TRY
        ud2
        TRIED "ud2 on its own stack"
        mov rax, IST_TOP + 0x8000
        sub rax, [exc_handler_sp]
        SHOW "below the ist", rax
        mov byte [idt64 + 6 * 16 + 4], 0
        ; a call gate to 64-bit code
        mov rax, gate
        mov [gdt + FREE_SEL + 64], ax
        mov word [gdt + FREE_SEL + 66], CODE64
        mov word [gdt + FREE_SEL + 68], 0xec00
        shr rax, 16
        mov [gdt + FREE_SEL + 70], ax
        mov qword [gdt + FREE_SEL + 72], 0
        mov r8, rsp
        TRY
        db 0x48, 0xff, 0x1c, 0x25       ; call far m16:64
        dd gate_pointer
        TRIED "64-bit call gate"
        SHOW "gate pushed", r9
        TRY
        push qword 0
        push qword .nowhere6
        retfq
.nowhere6:
        TRIED "retfq to a null cs"
        TRY
        db 0xff, 0x2c, 0x25             ; jmp far m16:32
        dd code32_pointer
        bits 32
far32:  mov ecx, cs
        jmp CODE64:far64
        bits 64
far64:  TRIED "jmp far to 32-bit code and back"
        SHOW "cs was", rcx
        LINE "end"
        EXIT
gate:   mov r9, r8
        sub r9, rsp
        retfq
        align 8
kernel_rsp:     dq 0
gate_pointer:   dq 0
                dw FREE_SEL + 64
code32_pointer: dd far32
                dw CODE32
