; Memory that does not fit: two processors change and check 256 MiB in turns, in a process that holds a quarter of them.
;
;   nasm -i tests/system/guests/ -f bin -o swapped.bin tests/guest/asm/swapped.asm
;   bhyve -c 2 -m 320M -o memory.resident=64M ... -f multiboot,swapped.bin vm
;
; Each 2 MiB chunk has a function of its own, words that a round leaves for the next, and in its last page the page table by which another
; chunk is reached. Rounds are separated by barriers; from round to round a chunk goes to the other processor. A "!" says that the first round is over.
%include "common.nasm"
%include "processors.nasm"

CHUNKS          equ 128
ROUNDS          equ 3
CHUNK_BYTES     equ 0x200000
FIRST           equ 0x2000000                   ; the chunks' guest-physical addresses begin at 32 MiB
WINDOW          equ 0x40000000                  ; the second GiB: reached through tables in the chunks
WINDOW_PD       equ SCRATCH + 0x1000
TABLE_OFFSET    equ 0x1ff000
FUNCTION_OFFSET equ 0x5000
TABLE_DISTANCE  equ 37                          ; the table of a chunk lies so many chunks on

        bits 32
main:   LONG start

        bits 64
start:  ; tables, through the first GiB's large pages
        mov edi, WINDOW_PD
        mov ecx, 1024
        xor eax, eax
        rep stosd
        mov dword [PDPT + 8], WINDOW_PD | 7
        xor r8d, r8d
.chunk: lea eax, [r8 + TABLE_DISTANCE]
        and eax, CHUNKS - 1
        shl rax, 21
        add rax, FIRST + TABLE_OFFSET
        lea rdx, [rax + 7]
        mov [WINDOW_PD + r8 * 8], rdx
        mov rdx, r8
        shl rdx, 21
        add rdx, FIRST | 7
        xor ecx, ecx
.page:  mov [rax + rcx * 8], rdx
        add rdx, 0x1000
        inc ecx
        cmp ecx, 512
        jb .page
        inc r8d
        cmp r8d, CHUNKS
        jb .chunk
        mov rax, cr3
        mov cr3, rax
        WAKE_OTHERS
        xor r15d, r15d
        call work
        SHOW "wrong", [abs wrong]
        EXIT

other:  mov esp, STACK_TOP + 0x8000
        mov r15d, 1
        call work
.stop:  cli
        hlt
        jmp .stop

; R15: number of the processor. R14: round. R13: chunk. RBP: the chunk in the window.
work:   xor r14d, r14d
.round: xor r13d, r13d
.chunk: lea eax, [r13 + r14]
        xor eax, r15d
        test al, 1
        jnz .next
        mov rbp, r13
        shl rbp, 21
        add rbp, WINDOW
        test r14d, r14d
        jz .write
        ; what the other processor left: r12 = what its function returns, ebx = pages
        call value
        sub r12d, 1
        mov ecx, 300
.again: lea rax, [rbp + FUNCTION_OFFSET]
        call rax
        cmp eax, r12d
        jne .bad
        dec ecx
        jnz .again
        xor ebx, ebx
.check: mov rdx, rbx
        shl rdx, 12
        add rdx, rbp
        mov rax, [rdx + r13 * 8]
        sub rax, rbx
        cmp rax, r12
        jne .bad
        add ebx, 7
        cmp ebx, 510
        jb .check
        jmp .write
.bad:   lock inc qword [abs wrong]
.write: call value
        mov byte [rbp + FUNCTION_OFFSET], 0xb8          ; mov eax, imm32; ret
        mov [rbp + FUNCTION_OFFSET + 1], r12d
        mov byte [rbp + FUNCTION_OFFSET + 5], 0xc3
        xor ebx, ebx
.fill:  mov rdx, rbx
        shl rdx, 12
        add rdx, rbp
        lea rax, [r12 + rbx]
        mov [rdx + r13 * 8], rax
        add ebx, 7
        cmp ebx, 510
        jb .fill
        ; a copy from the chunk before into this one's page 1, two instructions long
        mov rsi, r13
        dec rsi
        and esi, CHUNKS - 1
        shl rsi, 21
        add rsi, WINDOW + 0x1fe000
        lea rdi, [rbp + 0x1000]
        mov ecx, 0x400
        rep movsd
.next:  inc r13d
        cmp r13d, CHUNKS
        jb .chunk
        ; barrier
        lock inc dword [abs finished]
        lea eax, [r14 * 2 + 2]
.wait:  pause
        cmp [abs finished], eax
        jb .wait
        mov rax, cr3
        mov cr3, rax
        test r15d, r15d
        jnz .on
        test r14d, r14d
        jnz .on
        PRINT "!"
.on:    inc r14d
        cmp r14d, ROUNDS
        jb .round
        ret

; R12 = what this round leaves in this chunk
value:  mov r12d, r13d
        shl r12d, 8
        add r12d, r14d
        ret

        align 8
wrong:          dq 0
finished:       dd 0
