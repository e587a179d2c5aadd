; PVH guest: STI and CLI for ever in 64-bit code, while the host sends NMIs. None may come between STI and the instruction after it.
;
;   nasm -f bin -o sti-nmi.elf sti-nmi.asm
;
; Prints ! when it is ready. After NMIS of them the debug exit port gets 1 if one came there, else 0.

COM1        equ 0x3f8
EXIT_PORT   equ 0xf4
BASE        equ 0x200000
NMIS        equ 5000

bits 32
org BASE

elf_header:
    db 0x7f, "ELF", 2, 1, 1, 0          ; 64-bit, little-endian, version 1
    times 8 db 0
    dw 2                                ; ET_EXEC
    dw 62                               ; EM_X86_64
    dd 1
    dq start                            ; e_entry
    dq program_headers - BASE           ; e_phoff
    dq 0                                ; e_shoff
    dd 0                                ; e_flags
    dw 64, 56, 2, 0, 0, 0               ; sizes and counts

program_headers:
    dd 1, 7                             ; PT_LOAD, RWX
    dq 0, BASE, BASE                    ; offset, virtual and physical address
    dq file_end - BASE, memory_end - BASE
    dq 0x1000
    dd 4, 4                             ; PT_NOTE, R
    dq note - BASE, note, note
    dq note_end - note, note_end - note
    dq 4

note:
    dd 4, 4, 18                         ; name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    db "Xen", 0
    dd start
note_end:

start:
    mov esp, stack_top
    mov dword [pml4], pdpt + 3
    mov dword [pdpt], 0x83              ; one page of 1 GiB
    mov eax, pml4
    mov cr3, eax
    mov eax, cr4
    or eax, 1 << 5                      ; PAE
    mov cr4, eax
    mov ecx, 0xc0000080                 ; EFER
    rdmsr
    or eax, 1 << 8                      ; LME
    wrmsr
    mov eax, cr0
    or eax, 1 << 31                     ; PG
    mov cr0, eax
    mov eax, nmi                        ; an interrupt gate for vector 2
    mov [idt + 2 * 16], ax
    mov word [idt + 2 * 16 + 2], 0x08
    mov word [idt + 2 * 16 + 4], 0x8e00
    shr eax, 16
    mov [idt + 2 * 16 + 6], ax
    lgdt [gdt_pointer]
    lidt [idt_pointer]
    jmp 0x08:long_start

bits 64
long_start:
    xor eax, eax
    mov ss, eax
    xor ebx, ebx                        ; NMIs
    xor ebp, ebp                        ; those that came too early
    mov dx, COM1
    mov al, '!'                         ; there is a handler now
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
gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 64-bit code
gdt_pointer:
    dw 15
    dd gdt
idt_pointer:
    dw 3 * 16 - 1
    dd idt
file_end:

section .bss
alignb 4096
pml4:       resb 4096
pdpt:       resb 4096
idt:        resb 4096
            resb 4096
stack_top:
memory_end:
