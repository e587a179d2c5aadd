; PVH guest (ELF64 put together by hand, so that no linker is needed): enters by XEN_ELFNOTE_PHYS32_ENTRY in 32-bit
; protected mode, builds its own page tables, switches to long mode, prints to COM1 and leaves by the debug exit port.
;
;   nasm -f bin -o hello-long.elf hello-long.asm
;
; Output: "hello from long mode: <command line>" and a line feed, or "bad start info". Status 0 is written to port 0xF4 when
; all is well, status 1 otherwise.

COM1        equ 0x3f8
EXIT_PORT   equ 0xf4
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
    mov ebp, ebx                        ; hvm_start_info
    cmp dword [ebp], 0x336ec578
    jne bad32
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
    jmp 0x08:long_start
bad32:
    mov esi, bad_info
    jmp print32

bits 64
long_start:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    lea rsi, [rel hello]
    call print
    mov ebp, ebp                        ; only the low half is defined after the switch
    mov rsi, [rbp + 24]                 ; cmdline_paddr
    call print
    lea rsi, [rel newline]
    call print
    ; Work that only long mode can do: a 64-bit product whose high half counts.
    mov rax, 0x123456789abcdef0
    mov rcx, 0x0fedcba987654321
    mul rcx
    mov rcx, 0x0121fa00ad77d742
    cmp rdx, rcx
    setne al
    mov dx, EXIT_PORT
    out dx, al
.halt:
    cli
    hlt
    jmp .halt

; Prints the NUL-terminated string at RSI.
print:
    lodsb
    test al, al
    jz .done
    mov r8b, al
    mov dx, COM1 + 5
.wait:
    in al, dx                           ; line status: transmitter holding register empty
    test al, 0x20
    jz .wait
    mov al, r8b
    mov dx, COM1
    out dx, al
    jmp print
.done:
    ret

bits 32
print32:
    lodsb
    test al, al
    jz .done
    mov dx, COM1
    out dx, al
    jmp print32
.done:
    mov al, 1
    mov dx, EXIT_PORT
    out dx, al
    cli
    hlt
    jmp .done

hello:      db "hello from long mode: ", 0
newline:    db 10, 0
bad_info:   db "bad start info", 10, 0

align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 64-bit code
gdt_pointer:
    dw 15
    dd gdt
file_end:

section .bss
alignb 4096
pml4:       resb 4096
pdpt:       resb 4096
pd:         resb 4096
            resb 4096
stack_top:
memory_end:
