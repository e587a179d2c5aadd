; Prints to COM1 from long mode, and leaves by the debug exit port.
;
;   nasm -f bin -o hello-long.elf hello-long.asm
;
; Output: "hello from long mode: <command line>" and a line feed, or "bad start info". Status 0 is written to port 0xF4 when
; all is well, status 1 otherwise.

%include "pvh-long.nasm"

COM1        equ 0x3f8
EXIT_PORT   equ 0xf4

long_start:
    cmp dword [rbp], 0x336ec578         ; XEN_HVM_START_MAGIC_VALUE
    jne bad
    lea rsi, [rel hello]
    call print
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

bad:
    lea rsi, [rel bad_info]
    call print
    mov al, 1
    mov dx, EXIT_PORT
    out dx, al
    jmp long_start.halt

hello:      db "hello from long mode: ", 0
newline:    db 10, 0
bad_info:   db "bad start info", 10, 0

guest_end
