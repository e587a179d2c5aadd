; The services of a PC's BIOS that a kernel entered in real mode calls (IBM PS/2 and PC BIOS Interface Technical Reference;
; ACPI 6.5, 15.1 for E820h; PCI BIOS Specification 2.1). They are code of the guest: the console is COM1, the disk is none.
; docs/boot-protocols.md lists them. image.ts holds the assembled bytes; tests/unit/bios-services.test.ts compares both.
bits 16
org 0x1000                      ; E000:1000

COM_PORT        equ 0x400       ; BIOS data area: the first COM port, 0 for none
EQUIPMENT       equ 0x410
MEMORY_KIB      equ 0x413
SHIFT_FLAGS     equ 0x417
KEY_HEAD        equ 0x41a
KEY_TAIL        equ 0x41c
KEY_BUFFER      equ 0x1e        ; relative to 400h, as head and tail are
KEY_BUFFER_END  equ 0x3e
CURSOR          equ 0x450       ; column, row
TICKS           equ 0x46c
MIDNIGHT        equ 0x470
TICKS_PER_DAY   equ 0x1800b0
COLUMNS         equ 80
ROWS            equ 25
CALLER_FLAGS    equ 6           ; from BP, in a handler that began with PUSH BP and MOV BP, SP
CARRY           equ 0x01
ZERO            equ 0x40
UNSUPPORTED     equ 0x86
SMAP            equ 0x534d4150

; What image.ts reads: where each handler begins.
    dw enter_kernel, tick, video, equipment, memory_size, disk, system, keyboard, no_boot, reboot, clock

; Entered instead of the kernel, with the segment of its setup code in BX and the top of its stack in CX.
enter_kernel:
    mov al, 0x34                ; 8254 counter 0, mode 2, 65,536: 18.2 Hz
    out 0x43, al
    xor ax, ax
    mov ds, ax
    out 0x40, al
    out 0x40, al
    in al, 0x21
    and al, 0xfe                ; IRQ 0
    out 0x21, al
    mov dx, [COM_PORT]
    test dx, dx
    jz .enter
    add dx, 3
    mov al, 0x83                ; divisor latch, 8 data bits
    out dx, al
    sub dx, 3
    mov al, 1                   ; 115,200 bit/s
    out dx, al
    inc dx
    mov al, 0
    out dx, al
    add dx, 2
    mov al, 3
    out dx, al
    inc dx
    out dx, al                  ; DTR and RTS
.enter:
    mov ds, bx
    mov es, bx
    mov fs, bx
    mov gs, bx
    mov ss, bx
    mov sp, cx
    add bx, 0x20
    push bx
    push word 0
    retf

; INT 08h: the clock's interrupt.
tick:
    push ax
    push ds
    xor ax, ax
    mov ds, ax
    inc dword [TICKS]
    cmp dword [TICKS], TICKS_PER_DAY
    jb .same_day
    mov dword [TICKS], 0
    inc byte [MIDNIGHT]
.same_day:
    int 0x1c
    mov al, 0x20
    out 0x20, al
    pop ds
    pop ax
    iret

; INT 11h and 12h.
equipment:
    push ds
    xor ax, ax
    mov ds, ax
    mov ax, [EQUIPMENT]
    pop ds
    iret

memory_size:
    push ds
    xor ax, ax
    mov ds, ax
    mov ax, [MEMORY_KIB]
    pop ds
    iret

; INT 10h: what a terminal at the COM port can show.
video:
    cld
    pusha
    push ds
    xor bp, bp
    mov ds, bp
    mov bp, sp                  ; [bp+2] DI, SI, BP, SP, [bp+10] BX, [bp+12] DX, [bp+14] CX, [bp+16] AX
    cmp ah, 0x0e
    je .teletype
    cmp ah, 0x02
    je .set_cursor
    cmp ah, 0x03
    je .get_cursor
    cmp ah, 0x08
    je .read_cell
    cmp ah, 0x0f
    je .get_mode
    cmp ah, 0x00
    je .set_mode
    cmp ah, 0x06
    je .scroll
    cmp ah, 0x07
    je .scroll
.done:
    pop ds
    popa
    iret

.teletype:
    call put
    call advance
    jmp .done

.set_cursor:
    cmp dx, [CURSOR]
    je .done
    mov [CURSOR], dx
    mov si, escape_sequence
    call put_text
    mov al, dh
    call put_number
    mov al, ';'
    call put
    mov al, dl
    call put_number
    mov al, 'H'
    call put
    jmp .done

.get_cursor:
    mov ax, [CURSOR]
    mov [bp+12], ax
    mov word [bp+14], 0x0607    ; lines of the cursor's shape
    jmp .done

.read_cell:
    mov word [bp+16], 0x0720    ; nobody remembers: a light grey blank
    jmp .done

.get_mode:
    mov word [bp+16], COLUMNS << 8 | 3
    mov byte [bp+11], 0         ; BH: page
    jmp .done

.set_mode:
    test al, 0x80
    jnz .done
.clear:
    mov si, clear_sequence
    call put_text
    mov word [CURSOR], 0
    jmp .done

; A window of the whole screen with no lines to scroll by is cleared; a terminal scrolls by itself.
.scroll:
    test al, al
    jnz .done
    test cx, cx
    jnz .done
    mov si, erase_sequence
    call put_text
    jmp .done

; Moves the cursor of the data area as the terminal moves its own after the character AL.
advance:
    mov dx, [CURSOR]
    cmp al, 13
    je .start
    cmp al, 10
    je .down
    cmp al, 8
    je .back
    cmp al, ' '
    jb .store
    inc dl
    cmp dl, COLUMNS
    jb .store
    mov dl, 0
.down:
    cmp dh, ROWS - 1
    jae .store
    inc dh
    jmp .store
.back:
    sub dl, 1
    jnc .store
.start:
    mov dl, 0
.store:
    mov [CURSOR], dx
    ret

; Sends AL to the COM port; keeps all registers. DS is 0.
put:
    push dx
    push ax
    mov dx, [COM_PORT]
    test dx, dx
    jz .done
    add dx, 5
.busy:
    in al, dx
    test al, 0x20               ; transmitter holding register empty
    jz .busy
    sub dx, 5
    pop ax
    push ax
    out dx, al
.done:
    pop ax
    pop dx
    ret

; Sends AL + 1 in decimal; changes AX.
put_number:
    inc al
    aam                         ; AH = tens, AL = ones
    add ax, '00'
    xchg al, ah
    call put
    xchg al, ah
    jmp put

; Sends the text at CS:SI, which ends with a zero.
put_text:
    cs lodsb
    test al, al
    jz .done
    call put
    jmp put_text
.done:
    ret

; INT 13h: there is no disk. 01h, invalid function.
disk:
    push bp
    mov bp, sp
    mov ah, 0x01
fail:
    or byte [bp+CALLER_FLAGS], CARRY
    pop bp
    iret
unsupported:
    mov ah, UNSUPPORTED
    jmp fail
succeed:
    and byte [bp+CALLER_FLAGS], ~CARRY & 0xff
    pop bp
    iret

; INT 15h: memory, and line A20, which is always open.
system:
    push bp
    mov bp, sp
    cmp ax, 0xe820
    je .map
    cmp ax, 0xe801
    je .sizes
    cmp ah, 0x88
    je .extended
    cmp ax, 0x2401
    je .a20
    cmp ax, 0x2402
    je .a20_status
    cmp ax, 0x2403
    jne unsupported
    mov bx, 3                   ; keyboard controller and port 92h
.a20:
    mov ah, 0
    jmp succeed
.a20_status:
    mov ax, 0x0001
    jmp succeed
.extended:
    mov ax, [cs:extended_kib]
    jmp succeed
.sizes:
    mov ax, [cs:below_16m_kib]
    mov cx, ax
    mov bx, [cs:above_16m_64k]
    mov dx, bx
    jmp succeed
.map:
    cmp edx, SMAP
    jne unsupported
    cmp ecx, 20
    jb unsupported
    movzx eax, word [cs:map_entries]
    cmp ebx, eax
    jae unsupported
    push si
    push di
    imul si, bx, 20
    add si, map
    mov cx, 10
    cld
    cs rep movsw
    pop di
    pop si
    inc bx
    cmp bx, ax
    jb .more
    xor ebx, ebx
.more:
    mov eax, edx
    mov ecx, 20
    jmp succeed

; INT 16h: keys are what the COM port receives; scan codes are 0.
keyboard:
    push bp
    mov bp, sp
    push bx
    push ds
    xor bx, bx
    mov ds, bx
    test ah, 0xef               ; 00h, and 10h
    jz .read
    cmp ah, 0x01
    je .peek
    cmp ah, 0x11
    je .peek
    cmp ah, 0x02
    je .shift
    cmp ah, 0x12
    jne .done
.shift:
    mov al, [SHIFT_FLAGS]
.done:
    pop ds
    pop bx
    pop bp
    iret
.wait:
    sti
    hlt
    cli
.read:
    call poll
    je .wait
    mov ax, [0x400+bx]
    add bx, 2
    cmp bx, KEY_BUFFER_END
    jb .taken
    mov bx, KEY_BUFFER
.taken:
    mov [KEY_HEAD], bx
    jmp .done
.peek:
    and byte [bp+CALLER_FLAGS], ~ZERO & 0xff
    call poll
    je .none
    mov ax, [0x400+bx]
    jmp .done
.none:
    or byte [bp+CALLER_FLAGS], ZERO
    jmp .done

; Takes a character off the COM port when the buffer is empty. BX = head of the buffer; ZF when it is still empty. Changes no other register.
poll:
    mov bx, [KEY_HEAD]
    cmp bx, [KEY_TAIL]
    jne .done
    push ax
    push dx
    mov dx, [COM_PORT]
    test dx, dx
    jz .none
    add dx, 5
    in al, dx
    test al, 0x01               ; data ready
    jz .none
    sub dx, 5
    in al, dx
    mov ah, 0
    mov [0x400+bx], ax
    add bx, 2
    cmp bx, KEY_BUFFER_END
    jb .store
    mov bx, KEY_BUFFER
.store:
    mov [KEY_TAIL], bx
.none:
    pop dx
    pop ax
    mov bx, [KEY_HEAD]
    cmp bx, [KEY_TAIL]
.done:
    ret

; INT 1Ah: the clock, and PCI configuration.
clock:
    push bp
    mov bp, sp
    cmp ah, 0x00
    je .ticks
    cmp ah, 0x02
    je .time
    cmp ah, 0x04
    je .date
    cmp ah, 0xb1
    jne unsupported
    cmp al, 0x01
    je .pci_present
    cmp al, 0x08
    jb .pci_unsupported
    cmp al, 0x0d
    ja .pci_unsupported
    push eax                    ; [bp-4]: its AL is the function
    push dx
    movzx eax, bx               ; bus, device and function
    shl eax, 8
    or eax, 0x80000000
    mov dx, di
    mov al, dl
    and al, 0xfc
    mov dx, 0xcf8
    out dx, eax
    mov dx, di
    and dx, 3
    or dx, 0xcfc
    cmp byte [bp-4], 0x09
    jb .read_byte
    je .read_word
    cmp byte [bp-4], 0x0b
    jb .read_long
    mov eax, ecx
    je .write_byte
    cmp byte [bp-4], 0x0d
    jb .write_word
    out dx, eax
    jmp .pci_done
.write_word:
    out dx, ax
    jmp .pci_done
.write_byte:
    out dx, al
    jmp .pci_done
.read_byte:
    in al, dx
    mov cl, al
    jmp .pci_done
.read_word:
    in ax, dx
    mov cx, ax
    jmp .pci_done
.read_long:
    in eax, dx
    mov ecx, eax
.pci_done:
    pop dx
    pop eax
    mov ah, 0
    jmp succeed
.pci_unsupported:
    mov ah, 0x81
    jmp fail
.pci_present:
    mov edx, 'PCI '
    mov ax, 0x0001              ; configuration mechanism 1
    mov bx, 0x0210
    mov cl, [cs:last_bus]
    jmp succeed

.ticks:
    push ds
    xor cx, cx
    mov ds, cx
    mov dx, [TICKS]
    mov cx, [TICKS+2]
    mov al, 0
    xchg al, [MIDNIGHT]
    pop ds
    jmp succeed

; Times are BCD, as the clock is left at reset.
.time:
    call settled
    mov al, 0x04
    call cmos
    mov ch, al
    mov al, 0x02
    call cmos
    mov cl, al
    mov al, 0x00
    call cmos
    mov dh, al
    mov dl, 0                   ; no summer time
    jmp succeed
.date:
    call settled
    mov al, 0x32
    call cmos
    mov ch, al
    mov al, 0x09
    call cmos
    mov cl, al
    mov al, 0x08
    call cmos
    mov dh, al
    mov al, 0x07
    call cmos
    mov dl, al
    jmp succeed

; Waits while the clock is being updated; changes AL.
settled:
    mov al, 0x0a
    call cmos
    test al, 0x80
    jnz settled
    ret

; AL = register AL of the CMOS clock.
cmos:
    out 0x70, al
    in al, 0x71
    ret

; INT 18h: there is nothing else to boot. The machine ends when its processor halts with interrupts off.
no_boot:
    cld
    xor ax, ax
    mov ds, ax
    mov si, no_boot_message
    call put_text
.halt:
    cli
    hlt
    jmp .halt

; INT 19h.
reboot:
    mov dx, 0xcf9
    mov al, 0x06
    out dx, al
    jmp no_boot.halt

escape_sequence: db 27, '[', 0
clear_sequence: db 27, '[H', 27, '[2J', 0
erase_sequence: db 27, '[2J', 0
no_boot_message: db 13, 10, 'There is nothing else to boot.', 13, 10, 0

; image.ts writes these, in this order, behind the code.
last_bus equ $
extended_kib equ $ + 1          ; memory from 1 MiB up to 64 MiB
below_16m_kib equ $ + 3         ; from 1 MiB up to 16 MiB
above_16m_64k equ $ + 5         ; from 16 MiB up to 4 GiB, in units of 64 KiB
map_entries equ $ + 7
map equ $ + 9                   ; as E820h returns them, 20 bytes each
