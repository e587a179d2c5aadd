; What is held back and until when: #DB by MOV SS (not by STI), by SYSCALL and SYSRET, NMIs until IRET; LMSW, SMSW and UMIP.
%include "common.nasm"

        bits 32
main:
        LINE "shadows"
        LONG go

        bits 64
%macro WRITE_MSR 2
        mov ecx, %1
        mov rax, %2
        mov rdx, rax
        shr rdx, 32
        wrmsr
%endmacro
%include "debuglog.nasm"
; The first NMI sends another one, which waits until this one's IRET.
on_nmi:
        mov edi, [log_count]
        inc dword [log_count]
        mov byte [log_ip + rdi], 0x11
        cmp edi, 0
        jne .second
        mov dword [abs LOCAL_APIC + 0x310], 0
        mov dword [abs LOCAL_APIC + 0x300], 0x4400
        mov ecx, 100000
.wait:  dec ecx
        jnz .wait
.second:
        mov edi, [log_count]
        inc dword [log_count]
        mov byte [log_ip + rdi], 0xee
        ret

go:
        mov dword [hooks + 4], on_db
        mov dword [hooks + 8], on_nmi
        mov eax, 0xffff0ff0
        mov dr6, rax

        ; STI does not hold #DB back, loads of SS do
        mov qword [log_base], sti_begin
        STEP
sti_begin:
        sti
        nop
        NO_STEP
        cli
        SHOW "first trap after sti", [log_ip]
        mov dword [log_count], 0
        mov qword [log_base], mov_begin
        mov ebx, ss
        STEP
mov_begin:
        mov ss, ebx
        nop
        mov ss, ebx
        mov ss, ebx
        nop
        NO_STEP
        LOGGED "single step over mov ss"

        ; a data breakpoint on the operand of MOV SS: after the next instruction
        mov qword [log_base], ss_begin
        mov word [SCRATCH], DATA32
        mov eax, SCRATCH
        mov dr0, rax
        mov eax, 0x00070401             ; DR0: 2 bytes, read or written
        mov dr7, rax
ss_begin:
        mov ss, [SCRATCH]
        nop
        nop
        mov eax, 0x400
        mov dr7, rax
        LOGGED "data breakpoint on mov ss"

        ; B0-B3 are those of the last #DB, BS stays
        mov eax, 0xffff4ff2
        mov dr6, rax
        mov eax, 0x00070401
        mov dr7, rax
        mov qword [log_base], .dr6
.dr6:   mov eax, [SCRATCH]
        nop
        mov eax, 0x400
        mov dr7, rax
        LOGGED "dr6 had b1 and bs"

        ; SYSCALL: FMASK takes TF away in time; SYSRET: TF counts when it is back
        mov rax, 0x00af9b000000ffff
        mov [gdt + FREE_SEL], rax
        mov rax, 0x00cf93000000ffff
        mov [gdt + FREE_SEL + 8], rax
        mov rax, 0x00cffb000000ffff
        mov [gdt + FREE_SEL + 16], rax
        mov rax, 0x00cff3000000ffff
        mov [gdt + FREE_SEL + 24], rax
        mov rax, 0x00affb000000ffff
        mov [gdt + FREE_SEL + 32], rax
        WRITE_MSR 0xc0000081, ((FREE_SEL + 16 + 3) << 48) | (FREE_SEL << 32)
        WRITE_MSR 0xc0000082, on_syscall
        WRITE_MSR 0xc0000084, 0x700
        mov [kernel_rsp], rsp
        mov qword [log_base], user
        xor r15d, r15d
        mov rcx, user
        mov r11, 2
        mov rsp, USER_STACK_TOP
        o64 sysret
user:   STEP
        syscall
        nop
        nop
        inc r15d
        syscall
on_syscall:
        test r15d, r15d
        jnz .over
        nop
        o64 sysret
.over:  mov rsp, [kernel_rsp]
        mov eax, DATA32
        mov ss, eax
        LOGGED "single step over syscall"

        ; NMIs are blocked until IRET
        mov dword [abs LOCAL_APIC + 0xf0], 0x1ff
        mov dword [abs LOCAL_APIC + 0x310], 0
        mov dword [abs LOCAL_APIC + 0x300], 0x4400
        mov ecx, 100000
.wait:  dec ecx
        jnz .wait
        PRINT "nmi in nmi:"
        xor r12d, r12d
.next:  cmp r12d, [log_count]
        jae .end
        PRINT " "
        movzx eax, byte [log_ip + r12]
        NUMBER rax
        inc r12d
        jmp .next
.end:   PRINT 10
        mov dword [log_count], 0

        ; SMSW and LMSW
        mov rax, -1
        smsw ax
        mov rbx, rax
        shr rbx, 16
        SHOW "smsw ax above 16 bits", rbx
        mov rax, -1
        smsw eax
        mov rbx, cr0
        mov ecx, ebx
        cmp rax, rcx
        sete cl
        movzx ecx, cl
        SHOW "smsw eax is cr0", rcx
        mov rax, -1
        smsw rax
        cmp rax, rbx
        sete cl
        movzx ecx, cl
        SHOW "smsw rax is cr0", rcx
        mov qword [SCRATCH], -1
        smsw [SCRATCH]
        mov rax, [SCRATCH]
        shr rax, 16
        SHOW "smsw to memory above 16 bits", rax
        mov rbx, cr0
        mov eax, 8                      ; TS; neither PE nor the upper half go away
        lmsw ax
        mov rax, cr0
        mov rcx, rax
        and ecx, 15
        SHOW "MP EM TS PE after lmsw", rcx
        xor rax, rbx
        shr rax, 4
        SHOW "other bits changed", rax
        mov cr0, rbx

        ; ring 3, without and with UMIP
        or byte [idt64 + 0x80 * 16 + 5], 0x60
%macro USER 2+                          ; name, code
        TRY
        push qword USER_DATA
        push qword USER_STACK_TOP
        push qword 2
        push qword USER_CODE64
        push qword %%user
        iretq
%%user: mov qword [try_start], %%code
%%code: %2
        int 0x80
        TRIED %1
%endmacro
%macro QUERIES 1
        LINE %1
        USER "  smsw", smsw eax
        USER "  sldt", sldt eax
        USER "  str", str eax
        USER "  sgdt", sgdt [SCRATCH]
        USER "  sidt", sidt [SCRATCH]
%endmacro
        QUERIES "ring 3"
        USER "ring 3 lmsw", lmsw ax
        mov rax, cr4
        bts rax, 11
        mov cr4, rax
        QUERIES "ring 3 with umip"
        TRY
        smsw eax
        sldt eax
        sgdt [SCRATCH]
        TRIED "ring 0 with umip"
        LINE "end"
        EXIT

        align 8
kernel_rsp:     dq 0
