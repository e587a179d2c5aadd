; A PVH guest in long mode (ELF64 put together by hand, so that no linker is needed): enters by XEN_ELFNOTE_PHYS32_ENTRY in 32-bit protected
; mode, maps the first GiB to itself and goes on at long_start, in 64-bit code with EBP at hvm_start_info.
;
; Include it first; end with the macro guest_end, which reserves memory (page tables, stack).

BASE        equ 0x200000

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
    mov ebp, ebx
    ; PML4 -> PDPT -> one 1 GiB of 2 MiB pages.
    mov dword [pml4], pdpt + 3
    mov dword [pdpt], pd + 3
    mov edi, pd
    mov eax, 0x83
    mov ecx, 512
.fill:
    mov [edi], eax
    mov dword [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    loop .fill
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
    lgdt [gdt_pointer]
    jmp 0x08:enter_long

align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 64-bit code
gdt_pointer:
    dw 15
    dd gdt

bits 64
enter_long:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov ebp, ebp                        ; only the low half is defined after the switch
    jmp long_start

%macro guest_end 0
file_end:

section .bss
alignb 4096
pml4:       resb 4096
pdpt:       resb 4096
pd:         resb 4096
            resb 4096
stack_top:
memory_end:
%endmacro
