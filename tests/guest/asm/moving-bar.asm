; A BAR of memory that one processor moves while the other stores to it.
;
;   nasm -i tests/system/guests/ -f bin -o moving-bar.bin tests/guest/asm/moving-bar.asm
;   bhyve -c 2 -s 4,fbuf,... -f multiboot,moving-bar.bin ... vm
;
; The memory is at HERE or at THERE. Each round of the second processor stores a number at HERE, at THERE and at HERE again: whenever the one
; move of that round comes, one of the stores finds the memory. What it then reads must be that number.
%include "common.nasm"
%include "processors.nasm"

FUNCTION        equ 0x80002000                  ; 0:4.0
COMMAND         equ 0x04
BAR1            equ 0x14
THERE           equ 0xd0000000
MOVES           equ 300
UNMAPPED        equ 0xffffffff
ROUND           equ SCRATCH                     ; of the second processor
LOST            equ SCRATCH + 0x100
STOP            equ SCRATCH + 0x200
STOPPED         equ SCRATCH + 0x300
HERE            equ SCRATCH + 0x400

; CONFIG register: selects it; its port is then in DX.
%macro CONFIG 1
        mov eax, FUNCTION | %1
        mov dx, 0xcf8
        out dx, eax
        mov dx, 0xcfc
%endmacro

main:   LONG start

        bits 64
start:  mov edi, SCRATCH
        mov ecx, 0x1000
        xor eax, eax
        rep stosb
        CONFIG COMMAND
        in eax, dx
        or eax, 2
        push rax
        CONFIG COMMAND
        pop rax
        out dx, eax
        CONFIG BAR1
        in eax, dx
        and eax, ~15
        mov [HERE], eax

        WAKE_OTHERS

        mov r15d, MOVES
        mov r14d, THERE
        mov r13d, [HERE]
        ; two rounds since the last move: one that saw it, and one that began after it
.move:  mov ebx, [ROUND]
        add ebx, 2
.wait:  pause
        cmp [ROUND], ebx
        jb .wait
        CONFIG BAR1
        mov eax, r14d
        out dx, eax
        xchg r13d, r14d
        ; from the instruction after the one that moved it, the memory is there
        mov dword [r13 + 8], r15d
        cmp dword [r13 + 8], r15d
        je .there
        inc dword [LOST]
.there: cmp dword [r14 + 8], UNMAPPED
        je .gone
        inc dword [LOST]
.gone:  dec r15d
        jnz .move

        mov dword [STOP], 1
.stop:  pause
        cmp dword [STOPPED], 0
        je .stop
        SHOW "rounds", [ROUND]
        SHOW "lost", [LOST]
        EXIT

; What the second processor does.
other:  mov esp, USER_STACK_TOP
        lidt [idt_pointer64]
        mov esi, [HERE]
        mov edi, THERE
        xor ebx, ebx
.round: inc ebx
        mov [rsi], ebx
        mov [rdi], ebx
        mov [rsi], ebx
.read:  mov eax, [rsi]
        cmp eax, UNMAPPED
        jne .found
        mov eax, [rdi]
        cmp eax, UNMAPPED
        je .read
.found: cmp eax, ebx
        je .right
        lock inc dword [LOST]
.right: mov [ROUND], ebx
        cmp dword [STOP], 0
        je .round
        mov dword [STOPPED], 1
.halt:  cli
        hlt
        jmp .halt
