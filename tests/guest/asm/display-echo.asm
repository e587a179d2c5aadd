; A guest with a screen and no operating system: draws on fbuf, and prints the keys and the mouse that it sees on COM1.
;
;   nasm -f bin -o display-echo.bin tests/guest/asm/display-echo.asm
;   bhyve -m 64M -s 0,hostbridge -s 31,lpc -s 29,fbuf,w=640,h=480 -l com1,stdio -f multiboot,display-echo.bin vm
;
; Stripes of red, green, blue and white on the whole screen; for each key that goes down, a square of 32 pixels, from the upper left on.
; F2 fills the whole screen again and again, each time in another colour, until something is pressed. F3 rests for ever.
; Lines: "ready", then "k CODE" for each byte of the keyboard (scan code set 1), and "m BUTTONS DX DY" for each packet of the mouse, in hexadecimal.

COM1            equ 0x3f8
STATUS          equ 0x64
DATA            equ 0x60
FBUF            equ 0x40fbfb5d
SQUARE          equ 32
F2              equ 0x3c
F3              equ 0x3d

        bits 32
        org 0x100000
header: dd 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd header, header, end, end, start

start:  mov esp, stack
        ; fbuf is on bus 0, function 0 of some slot.
        mov ebx, 0x80000000
.find:  mov eax, ebx
        call pci_read
        cmp eax, FBUF
        je .found
        add ebx, 0x800
        cmp ebx, 0x80010000
        jb .find
        mov esi, no_display
        call print
        jmp $
.found: lea eax, [ebx + 4]
        call pci_read
        or eax, 2                       ; memory decoding
        mov dx, 0xcfc
        out dx, eax
        lea eax, [ebx + 0x10]
        call pci_read
        and eax, 0xfffffff0
        movzx ecx, word [eax + 4]
        mov [width], ecx
        movzx ecx, word [eax + 6]
        mov [height], ecx
        lea eax, [ebx + 0x14]
        call pci_read
        and eax, 0xfffffff0
        mov [pixels], eax

        ; Stripes.
        mov edi, eax
        xor ebp, ebp                    ; row
.row:   xor ecx, ecx                    ; column
.pixel: mov eax, ecx
        shl eax, 2
        xor edx, edx
        div dword [width]
        mov eax, [stripes + eax * 4]
        stosd
        inc ecx
        cmp ecx, [width]
        jb .pixel
        inc ebp
        cmp ebp, [height]
        jb .row

        ; 8042: translation on, no interrupts, both ports open; then the mouse reports.
        mov al, 0x60
        call command
        mov al, 0x40
        call data
        mov al, 0xa8
        call command
        mov al, 0xd4
        call command
        mov al, 0xf4
        call data
.ack:   in al, STATUS
        test al, 1
        jz .ack
        in al, DATA
        mov esi, ready
        call print

poll:   in al, STATUS
        test al, 1
        jz poll
        test al, 0x20
        jnz .mouse
        in al, DATA
        push eax
        mov esi, key
        call print
        mov al, [esp]
        call hexadecimal
        call newline
        pop eax
        test al, 0x80
        jnz poll
        cmp al, F2
        je redraw
        cmp al, F3
        je rest
        call square
        jmp poll
.mouse: in al, DATA
        mov ecx, [packet_bytes]
        mov [packet + ecx], al
        inc ecx
        mov [packet_bytes], ecx
        cmp ecx, 3
        jb poll
        mov dword [packet_bytes], 0
        mov esi, mouse
        call print
        mov al, [packet]
        and al, 7
        call hexadecimal
        mov al, ' '
        call put
        mov al, [packet + 1]
        call hexadecimal
        mov al, ' '
        call put
        mov al, [packet + 2]
        call hexadecimal
        call newline
        jmp poll

redraw: mov ebp, 0x010203
.fill:  mov edi, [pixels]
        mov ecx, [width]
        imul ecx, [height]
        mov eax, ebp
        rep stosd
        add ebp, 0x070503
        ; The release of F2 ends nothing.
        in al, STATUS
        test al, 1
        jz .fill
        in al, DATA
        cmp al, F2 | 0x80
        je .fill
        jmp poll

rest:   mov al, 0xff                    ; no interrupt comes
        out 0x21, al
        out 0xa1, al
        sti
.rest:  hlt
        jmp .rest

; The next square, in a colour of the code in AL.
square: pushad
        movzx eax, al
        imul eax, eax, 0x3b2d11
        and eax, 0xffffff
        mov ebp, eax
        ; Squares in a row, and rows.
        mov eax, [width]
        shr eax, 5
        mov ebx, eax
        mov eax, [squares]
        inc dword [squares]
        xor edx, edx
        div ebx
        imul eax, eax, SQUARE
        imul eax, [width]
        imul edx, edx, SQUARE
        add eax, edx
        shl eax, 2
        add eax, [pixels]
        mov edi, eax
        mov ebx, SQUARE
.row:   mov ecx, SQUARE
        mov eax, ebp
        push edi
        rep stosd
        pop edi
        mov eax, [width]
        lea edi, [edi + eax * 4]
        dec ebx
        jnz .row
        popad
        ret

; EAX: address of configuration space; reads into EAX.
pci_read:
        mov dx, 0xcf8
        out dx, eax
        mov dx, 0xcfc
        in eax, dx
        ret

command:
        push eax
.wait:  in al, STATUS
        test al, 2
        jnz .wait
        pop eax
        out STATUS, al
        ret

data:   push eax
.wait:  in al, STATUS
        test al, 2
        jnz .wait
        pop eax
        out DATA, al
        ret

hexadecimal:
        push eax
        shr al, 4
        call digit
        pop eax
digit:  and eax, 15
        mov al, [digits + eax]
put:    push eax
        mov dx, COM1 + 5
.wait:  in al, dx
        test al, 0x20
        jz .wait
        pop eax
        mov dx, COM1
        out dx, al
        ret

newline:
        mov al, 13
        call put
        mov al, 10
        jmp put

print:  lodsb
        test al, al
        jz .end
        call put
        jmp print
.end:   ret

stripes dd 0xff0000, 0x00ff00, 0x0000ff, 0xffffff
digits  db '0123456789abcdef'
ready   db 'ready', 13, 10, 0
no_display db 'no display', 13, 10, 0
key     db 'k ', 0
mouse   db 'm ', 0
        align 4
width   dd 0
height  dd 0
pixels  dd 0
squares dd 0
packet_bytes dd 0
packet  db 0, 0, 0
        align 16
        times 1024 db 0
stack:
end:
