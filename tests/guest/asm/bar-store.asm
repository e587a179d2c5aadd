; A Linux program that stores to a BAR of memory which it maps from /sys.
;
;   nasm -f bin -o bar-store tests/guest/asm/bar-store.asm
;   bar-store /sys/bus/pci/devices/.../resource1 fill|pages
;   bar-store /dev/zero fill                        the same on memory of its own
;
; `fill` writes the first 16 MiB 64 times, each time with the number of the round in every double word; `pages` writes one byte to each page
; whose number is a power of two below 4096. The status is 1 when the file cannot be opened or mapped.
        bits 64
        org 0x400000

LENGTH          equ 16 << 20
ROUNDS          equ 64
SYS_OPEN        equ 2
SYS_MMAP        equ 9
SYS_EXIT        equ 60
O_RDWR          equ 2
PROT_READ_WRITE equ 3
MAP_SHARED      equ 1

        db 0x7f, "ELF", 2, 1, 1, 0
        dq 0
        dw 2, 62                                ; ET_EXEC, EM_X86_64
        dd 1
        dq _start, program_header - $$, 0
        dd 0
        dw 64, 56, 1, 0, 0, 0
program_header:
        dd 1, 5                                 ; PT_LOAD, R X
        dq 0, $$, $$, file_end - $$, file_end - $$, 0x1000

_start: mov rdi, [rsp + 16]
        mov esi, O_RDWR
        mov eax, SYS_OPEN
        syscall
        test eax, eax
        js failed
        mov r8d, eax
        xor edi, edi
        mov esi, LENGTH
        mov edx, PROT_READ_WRITE
        mov r10d, MAP_SHARED
        xor r9d, r9d
        mov eax, SYS_MMAP
        syscall
        test rax, rax
        js failed
        mov rbx, rax
        mov rsi, [rsp + 24]
        cmp byte [rsi], 'f'
        je fill
        mov eax, 1
.page:  mov ecx, eax
        shl ecx, 12
        mov byte [rbx + rcx], 0x5a
        add eax, eax
        cmp eax, LENGTH >> 12
        jb .page
        jmp done
fill:   mov edx, 1
.round: mov rdi, rbx
        mov ecx, LENGTH / 4
        mov eax, edx
        rep stosd
        inc edx
        cmp edx, ROUNDS
        jbe .round
done:   xor edi, edi
        jmp exit
failed: mov edi, 1
exit:  mov eax, SYS_EXIT
        syscall
file_end:
