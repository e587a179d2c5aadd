; A bzImage whose only entry is its real-mode setup code (boot protocol 2.07, code32_start 0), as iPXE's are: calls the services of a BIOS and
; prints what they answer by INT 10h, as lines of hexadecimal words.
;
;   nasm -f bin -o real-mode.bin real-mode.asm

bits 16
org 0

    times 0x1f1 db 0
    db 2                                ; setup_sects
    dw 0
    dd (payload_end - payload + 15) / 16
    dw 0, 0, 0
    dw 0xaa55
    jmp short start
    db "HdrS"
    dw 0x0207                           ; protocol
    dd 0                                ; realmode_swtch
    dw 0, 0                             ; start_sys, kernel_version
    db 0, 1                             ; type_of_loader, loadflags: LOADED_HIGH
    dw 0
    dd 0                                ; code32_start
    dd 0, 0, 0                          ; ramdisk_image, ramdisk_size, bootsect_kludge
    dw 0, 0                             ; heap_end_ptr, ext_loader_ver
cmd_line_ptr:
    dd 0
    dd 0x37ffffff                       ; initrd_addr_max
    dd 0                                ; kernel_alignment
    db 0, 0
    dw 0
    dd 2047                             ; cmdline_size
    times 0x268 - ($ - $$) db 0

start:
    mov eax, [cmd_line_ptr]
    shr eax, 4
    mov es, ax
    mov si, [cmd_line_ptr]
    and si, 15
.command_line:
    mov al, [es:si]
    inc si
    test al, al
    jz .end
    call put
    jmp .command_line
.end:
    call newline

    ; Segments, stack and the caller's flags as the protocol has them.
    mov ax, cs
    call show
    mov ax, ds
    call show
    mov ax, sp
    call show
    call newline

    ; Memory.
    int 0x11
    call show
    int 0x12
    call show
    mov ah, 0x88
    int 0x15
    call show_carry
    mov ax, 0xe801
    int 0x15
    call show_carry
    mov ax, bx
    call show
    mov ax, 0xc000                      ; not offered
    int 0x15
    call show_carry
    call newline

    ; The memory map: its ranges' bases and lengths in KiB, and types.
    push ds
    pop es
    xor ebx, ebx
.range:
    mov eax, 0xe820
    mov edx, 0x534d4150
    mov ecx, 24
    mov di, range
    int 0x15
    jc .map_end
    mov eax, [range]
    shr eax, 10
    call show_long
    mov eax, [range + 8]
    shr eax, 10
    call show_long
    mov ax, [range + 16]
    call show
    test ebx, ebx
    jnz .range
.map_end:
    call newline

    ; No disk. The cursor, behind what was shown and in a new line.
    mov ah, 0x02
    int 0x13
    call show_carry
    mov ah, 0x03
    mov bh, 0
    int 0x10
    mov al, dl
    mov ah, 0
    call show
    call newline
    mov ah, 0x03
    mov bh, 0
    int 0x10
    mov al, dl
    mov ah, 0
    call show
    call newline

    ; PCI: presence, then the host bridge's identification by each size, and a register written by each.
    mov ax, 0xb101
    int 0x1a
    call show_carry
    mov eax, edx
    call show_long
    xor bx, bx
    mov di, 2
    mov ax, 0xb108
    int 0x1a
    mov ax, cx
    mov ah, 0
    call show
    mov di, 2
    mov ax, 0xb109
    int 0x1a
    mov ax, cx
    call show
    mov di, 0
    mov ax, 0xb10a
    int 0x1a
    mov eax, ecx
    call show_long
    mov bx, 0x18                        ; device 3: its second BAR, command and interrupt line
    mov ecx, 0x12344000
    mov di, 0x14
    mov ax, 0xb10d
    int 0x1a
    call show_register
    mov cx, 0x0404
    mov di, 0x04
    mov ax, 0xb10c
    int 0x1a
    call show_register
    mov cl, 0x5a
    mov di, 0x3c
    mov ax, 0xb10b
    int 0x1a
    call show_register
    mov ax, 0xb1ff                      ; not offered
    int 0x1a
    call show_carry
    call newline

    ; The clock: its ticks go on with interrupts enabled.
    mov ah, 0
    int 0x1a
    mov si, dx
    sti
.same_tick:
    hlt
    mov ah, 0
    int 0x1a
    cmp dx, si
    je .same_tick
    mov al, 't'
    call put
    mov ah, 0x04
    int 0x1a
    mov ax, cx
    call show
    call newline

    ; Keys: none yet, then those that the test sends, until a q; and one that is looked at before it is taken.
    mov ah, 0x01
    int 0x16
    jnz .key_waits
    mov al, '-'
    call put
.key_waits:
    mov si, 0
.key:
    mov ah, 0x00
    int 0x16
    call put
    cmp al, 'q'
    jne .key
.peek:
    mov ah, 0x11
    int 0x16
    jz .peek
    mov bx, ax
    mov ah, 0x10
    int 0x16
    cmp ax, bx
    jne .peek
    call put
    call newline

    ; Cursor movement, a cleared screen.
    mov dx, 0x0409
    mov bh, 0
    mov ah, 0x02
    int 0x10
    mov ax, 0x0600
    mov cx, 0
    mov dx, 0x184f
    int 0x10
    int 0x18

; Shows AX, then whether carry was set.
show_carry:
    pushf
    call show
    pop ax
    and ax, 1
    add al, '0'
    call put
    mov al, ' '
    jmp put

; Shows register DI of the PCI function BX.
show_register:
    mov ax, 0xb10a
    int 0x1a
    mov eax, ecx
show_long:
    push eax
    shr eax, 16
    call show_digits
    pop eax
show:
    call show_digits
    push ax
    mov al, ' '
    call put
    pop ax
    ret

show_digits:
    push cx
    mov cx, 4
.digit:
    rol ax, 4
    push ax
    and al, 15
    cmp al, 10
    sbb al, 0x69
    das
    call put
    pop ax
    loop .digit
    pop cx
    ret

newline:
    mov al, 13
    call put
    mov al, 10
put:
    push ax
    push bx
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    pop bx
    pop ax
    ret

range: times 24 db 0
    times 3 * 512 - ($ - $$) db 0
payload:
    times 16 db 0x90
payload_end:
