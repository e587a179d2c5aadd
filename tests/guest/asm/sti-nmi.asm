; STI and CLI for ever in 64-bit code, while the host sends NMIs. None may come between STI and the instruction after it.
;
;   nasm -f bin -o sti-nmi.elf sti-nmi.asm
;
; Prints ! when it is ready. After NMIS of them the debug exit port gets 1 if one came there, else 0.

%include "pvh-long.nasm"

COM1        equ 0x3f8
EXIT_PORT   equ 0xf4
NMIS        equ 5000

long_start:
    lea rdi, [rel nmi_gate]
    mov eax, nmi                        ; an interrupt gate
    mov [rdi], ax
    mov word [rdi + 2], 0x08
    mov word [rdi + 4], 0x8e00
    shr eax, 16
    mov [rdi + 6], ax
    lidt [rel idt_pointer]
    xor ebx, ebx                        ; NMIs
    xor ebp, ebp                        ; those that came too early
    mov dx, COM1
    mov al, '!'
    out dx, al
again:
    sti
after_sti:
    nop
    cli
    cmp ebx, NMIS
    jb again
    test ebp, ebp
    setnz al
    mov dx, EXIT_PORT
    out dx, al
.halt:
    hlt
    jmp .halt

nmi:
    inc ebx
    cmp qword [rsp], after_sti
    jne .fine
    inc ebp
.fine:
    iretq

align 8
idt:
    times 2 dq 0, 0
nmi_gate:
    dq 0, 0
idt_pointer:
    dw 3 * 16 - 1
    dq idt

guest_end
