; Multiboot 1 guest in 32-bit protected mode: checks what it was handed, prints to COM1 and leaves by the debug exit port.
;
;   nasm -f bin -o hello-multiboot.bin hello-multiboot.asm
;
; Output: "hello from multiboot: <command line>" and a line feed, or "bad magic". Status 0 is written to port 0xF4 when all
; is well (process status 1 after pc-testdev's (v << 1) | 1), status 1 otherwise.

bits 32
org 0x100000

COM1        equ 0x3f8
EXIT_PORT   equ 0xf4

header:
    dd 0x1badb002                       ; magic
    dd 0x00010003                       ; page-align modules, memory information, addresses valid
    dd -(0x1badb002 + 0x00010003)       ; checksum
    dd header                           ; header_addr
    dd header                           ; load_addr
    dd 0                                ; load_end_addr: the whole file
    dd bss_end                          ; bss_end_addr
    dd start                            ; entry_addr

start:
    mov esp, stack_top
    cmp eax, 0x2badb002
    jne bad
    mov ebp, ebx                        ; boot information
    test dword [ebp], 1 << 2            ; command line valid?
    jz bad
    mov esi, hello
    call print
    mov esi, [ebp + 16]
    call print
    mov esi, newline
    call print
    xor eax, eax
    jmp exit
bad:
    mov esi, bad_magic
    call print
    mov eax, 1
exit:
    mov dx, EXIT_PORT
    out dx, al
.halt:
    cli
    hlt
    jmp .halt

; Prints the NUL-terminated string at ESI.
print:
    lodsb
    test al, al
    jz .done
    mov ah, al
    mov dx, COM1 + 5
.wait:
    in al, dx                           ; line status: transmitter holding register empty
    test al, 0x20
    jz .wait
    mov al, ah
    mov dx, COM1
    out dx, al
    jmp print
.done:
    ret

hello:      db "hello from multiboot: ", 0
newline:    db 10, 0
bad_magic:  db "bad magic", 10, 0

section .bss
alignb 16
    resb 4096
stack_top:
bss_end:
