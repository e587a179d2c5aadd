; An AMD processor: SYSCALL and SYSRET outside 64-bit mode and what SYSRET leaves alone, SYSENTER in long mode, 16-bit near branches in
; 64-bit mode, far pointers, LOCK MOV CR0, a reserved page-table bit.
%include "common.nasm"

; SYSCALL: kernel code and data; SYSRET: 32-bit code, data, 64-bit code
KERNEL          equ FREE_SEL
USER            equ FREE_SEL + 16
STACK16         equ FREE_SEL + 40
%define LOW16(label) ((label - $$ + 0x100000) & 0xffff)

        bits 32
%macro WRITE_MSR32 3
        mov ecx, %1
        mov edx, %2
        mov eax, %3
        wrmsr
%endmacro
main:
        LINE "amd"
        call load_tss32
        mov dword [gdt + KERNEL], 0x0000ffff
        mov dword [gdt + KERNEL + 4], 0x00cf9b00
        mov dword [gdt + KERNEL + 8], 0x0000ffff
        mov dword [gdt + KERNEL + 12], 0x00cf9300
        mov dword [gdt + USER], 0x0000ffff
        mov dword [gdt + USER + 4], 0x00cffb00
        mov dword [gdt + USER + 8], 0x0000ffff
        mov dword [gdt + USER + 12], 0x00cff300
        mov dword [gdt + USER + 16], 0x0000ffff
        mov dword [gdt + USER + 20], 0x00affb00

        ; legacy mode
        TRY
        syscall
        TRIED "syscall without SCE"
        TRY
        sysret
        TRIED "sysret without SCE"
        WRITE_MSR32 0xc0000080, 0, 1
        WRITE_MSR32 0xc0000081, ((USER + 3) << 16) | KERNEL, on_legacy
        mov [saved_esp], esp
        mov ecx, legacy_user
        mov esp, USER_STACK_TOP
        sysret
legacy_user:
        pushfd
        pop ebx
        mov edi, cs
        mov ebp, ss
        mov esi, esp
        stc
        syscall
legacy_after:
        hlt
on_legacy:
        mov eax, esp
        mov esp, [saved_esp]
        pushfd
        pop edx
        and ebx, 0x201
        SHOW "IF CF after sysret", ebx
        SHOW "cs after sysret", edi
        SHOW "ss after sysret", ebp
        and edx, 0x201
        SHOW "IF CF after syscall", edx
        sub ecx, legacy_after
        SHOW "ecx minus next instruction", ecx
        sub esi, eax
        SHOW "esp moved", esi
        mov eax, cs
        SHOW "cs after syscall", eax
        mov eax, ss
        SHOW "ss after syscall", eax
        mov eax, DATA32
        mov ss, eax
        ; SYSENTER works here
        WRITE_MSR32 0x174, 0, KERNEL
        WRITE_MSR32 0x175, 0, STACK_TOP - 0x100
        WRITE_MSR32 0x176, 0, on_sysenter
        sysenter
        hlt
on_sysenter:
        SHOW "esp after sysenter", esp
        mov eax, DATA32
        mov ss, eax
        mov esp, [saved_esp]
        ; a selector is pushed with all 32 bits
        mov dword [esp - 4], -1
        push fs
        pop eax
        SHOW "fs pushed", eax
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
        or byte [idt64 + 0x80 * 16 + 5], 0x60
        TRY
        sysenter
        TRIED "sysenter"
        TRY
        sysexit
        TRIED "sysexit"
        TRY
        WRITE_MSR 0xc0000103, 0x100000005
        TRIED "tsc_aux of 33 bits"
        mov eax, 5
        mov cr8, rax
        TRY
        xor eax, eax
        db 0xf0
        mov rax, cr0
        TRIED "lock mov rax, cr0"
        SHOW "cr8", rax
        mov eax, 3
        db 0xf0
        mov cr0, rax
        mov rax, cr8
        SHOW "cr8 by lock mov cr0", rax
        xor eax, eax
        mov cr8, rax

        ; near branches of 16 bits: the target is cut to where an INT3 waits
%macro CUT 2+
        mov byte [LOW16(%%next)], 0xcc
        mov r8d, LOW16(%%next) + 1
        mov esi, %%next
        mov edi, 2
        xor ecx, ecx
        mov rbx, rsp
        TRY
        %2
%%next: ud2
%$after:
        %pop
        mov qword [resume_ip], unexpected64
        PRINT %1, ": vector "
        NUMBER [exc_vector]
        mov rax, [exc_ip]
        cmp rax, r8
        sete al
        movzx eax, al
        PRINT " cut "
        NUMBER rax
        sub rbx, [exc_sp]
        PRINT " stack "
        NUMBER rbx
        PRINT 10
%endmacro
        CUT "jmp short", {db 0x66, 0xeb, 0}
        CUT "jmp", {db 0x66, 0xe9, 0, 0}
        CUT "jrcxz", {db 0x66, 0xe3, 0}
        CUT "call", {db 0x66, 0xe8, 0, 0}
        CUT "jmp esi", {db 0x66, 0xff, 0xe6}
        CUT "call esi", {db 0x66, 0xff, 0xd6}
        CUT "jmp with rex.w", {db 0x66, 0x48, 0xe9, 0, 0, 0, 0}
        CUT "ret", {db 0x66, 0x56, 0x66, 0xc3}  ; push si, ret

        ; far pointers: REX.W makes them no longer
        TRY
        mov dword [SCRATCH], .far
        mov dword [SCRATCH + 4], CODE64
        mov qword [SCRATCH + 8], 0
        db 0x48, 0xff, 0x2c, 0x25       ; jmp far m16:64
        dd SCRATCH
        hlt
.far:   TRIED "far jump with rex.w"
        mov word [SCRATCH + 4], DATA32
        mov dword [SCRATCH], 0x89abcdef
        TRY
        mov rax, -1
        db 0x48, 0x0f, 0xb4, 0x04, 0x25 ; lfs rax, m16:64
        dd SCRATCH
        TRIED "lfs with rex.w"
        SHOW "rax", rax

        ; SYSCALL from 32-bit code
        WRITE_MSR 0xc0000081, ((USER + 3) << 48) | (KERNEL << 32)
        WRITE_MSR 0xc0000083, on_compatible
        WRITE_MSR 0xc0000084, 0x201
        mov [saved_esp], rsp
        mov ecx, user32
        mov r11, 2
        sysret
        bits 32
user32: mov esp, USER_STACK_TOP
        push eax                        ; SS is as the kernel had it
        mov edi, ss
        stc
        syscall
user32_after:
        hlt
        bits 64
on_compatible:
        mov rbx, rsp
        mov rsp, [saved_esp]
        pushfq
        pop rsi
        mov ebp, cs
        sub rcx, user32_after
        SHOW "rcx minus next instruction", rcx
        SHOW "esp", rbx
        SHOW "CF in r11", r11
        and esi, 1
        SHOW "CF in the kernel", rsi
        SHOW "cs in the kernel", rbp
        SHOW "ss in user mode", rdi
        TRY
        mov eax, 0
        mov ss, eax
        mov ecx, user32
        mov r11, 2
        sysret
        TRIED "sysret with a null ss, and a push"
        mov eax, DATA32
        mov ss, eax
        TRY
        mov rcx, 0x0000800000000000
        mov r11, 2
        o64 sysret
        TRIED "sysret to a non-canonical address"
        SHOW "cs in the frame", [exc_cs]
        mov eax, DATA32
        mov ss, eax

        ; bit 8 of a PML4E
        mov qword [PML4 + 8], PDPT | 0x107
        TRY
        mov rbx, 0x8000000000
        mov al, [rbx]
        TRIED "bit 8 in a pml4e"
        LINE "end"
        EXIT
        align 8
saved_esp:      dq 0
