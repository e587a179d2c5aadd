; Two processors: locked operations that are not aligned, over two words, over two pages, beside code that runs, and while a breakpoint is
; armed; and CMPXCHG16B beside operations on half of its operand.
%include "common.nasm"
%include "processors.nasm"

ROUNDS          equ 200000
AP_STACK        equ USER_STACK_TOP
ACROSS          equ SCRATCH + 6         ; a dword in two words of 8 bytes
INSIDE          equ SCRATCH + 0x41      ; a word that is not aligned, in one of them
PAIR            equ SCRATCH + 0x80
OVER            equ SCRATCH + 0xc3      ; a qword in two words
; Two pages that are no neighbours in memory.
PAGES           equ 0x20000000
PAGE_TABLE      equ SCRATCH + 0x2000
FIRST_PAGE      equ SCRATCH + 0x6000
SECOND_PAGE     equ SCRATCH + 0x4000
DWORD_SPLIT     equ PAGES + 0xffd
QWORD_SPLIT     equ PAGES + 0xff9
LOCK_SPLIT      equ PAGES + 0xffe
FEW_ROUNDS      equ 3000

        bits 32
main:
        LINE "locked"
        LONG go

        bits 64
; The other processor does what [work] says, and then increments [finished].
other:
        mov rsp, AP_STACK
        lock inc dword [finished]
.wait:  pause
        mov rax, [work]
        test rax, rax
        jz .wait
        mov qword [work], 0
        call rax
        lock inc dword [finished]
        jmp .wait

; BOTH here, there: both processors at once
%macro BOTH 2
        mov dword [finished], 0
        mov qword [work], %2
        call %1
%%wait: pause
        cmp dword [finished], 1
        jne %%wait
%endmacro

go:
        mov edi, SCRATCH
        mov ecx, 0x1000
        xor eax, eax
        rep stosb
        WAKE_OTHERS
.up:    pause
        cmp dword [finished], 1
        jne .up
        LINE "two processors"

        BOTH across, across
        mov eax, [ACROSS]
        SHOW "lock inc over two words", rax
        BOTH inside, inside
        movzx eax, word [INSIDE]
        SHOW "lock add inside a word", rax
        BOTH exchange, exchange
        mov rax, [OVER]
        SHOW "cmpxchg over two words", rax
        BOTH add_over, add_over
        mov rax, [OVER]
        SHOW "xadd over two words", rax
        BOTH pair_low, pair_low
        SHOW "cmpxchg16b", [PAIR]
        mov qword [PAIR], 0
        BOTH pair_low, high_inc
        SHOW "cmpxchg16b beside lock inc, low", [PAIR]
        SHOW "cmpxchg16b beside lock inc, high", [PAIR + 8]
        mov qword [PAIR], 0
        BOTH pair_high, low_store
        SHOW "cmpxchg16b beside mov, low", [PAIR]
        SHOW "cmpxchg16b beside mov, high", [PAIR + 8]
        mov qword [PAGE_TABLE], FIRST_PAGE | 7
        mov qword [PAGE_TABLE + 8], SECOND_PAGE | 7
        mov dword [PD0 + (PAGES >> 21) * 8], PAGE_TABLE | 7
        call clear_split
        BOTH inc_split, inc_split
        mov eax, [DWORD_SPLIT]
        SHOW "lock inc over two pages", rax
        call clear_split
        BOTH exchange_split, add_split
        mov rax, [QWORD_SPLIT]
        SHOW "cmpxchg and xadd over two pages", rax
        call clear_split
        BOTH pair_split, pair_split
        mov rax, [QWORD_SPLIT]
        SHOW "cmpxchg8b over two pages", rax
        call clear_split
        mov dword [guarded], 0
        BOTH hold_split, hold_split
        mov eax, [guarded]
        SHOW "bts, btr and xchg over two pages", rax
        mov dword [beside], 0
        BOTH inc_beside, inc_beside
        mov eax, [beside]
        SHOW "lock inc beside code that runs", rax
        mov dword [guarded], 0
        BOTH inc_armed, inc_armed
        mov eax, [guarded]
        SHOW "lock inc with a breakpoint armed", rax
        LINE "end"
        EXIT

clear_split:
        invlpg [PAGES]
        invlpg [PAGES + 0x1000]
        mov qword [FIRST_PAGE + 0xff8], 0
        mov qword [SECOND_PAGE], 0
        ret
inc_split:
        mov ecx, ROUNDS
.next:  lock inc dword [DWORD_SPLIT]
        dec ecx
        jnz .next
        ret
exchange_split:
        mov ecx, ROUNDS
.next:  mov rax, [QWORD_SPLIT]
.again: lea rdx, [rax + 1]
        lock cmpxchg [QWORD_SPLIT], rdx
        jnz .again
        dec ecx
        jnz .next
        ret
add_split:
        mov ecx, ROUNDS
.next:  mov eax, 1
        lock xadd [QWORD_SPLIT], rax
        dec ecx
        jnz .next
        ret
; both halves of the operand are counted at once
pair_split:
        mov r8d, ROUNDS
.next:  mov eax, [QWORD_SPLIT]
        mov edx, [QWORD_SPLIT + 4]
.again: lea ebx, [rax + 1]
        lea ecx, [rdx + 1]
        lock cmpxchg8b [QWORD_SPLIT]
        jnz .again
        dec r8d
        jnz .next
        ret
; a lock that is taken in two ways and released in two ways; few rounds, for who waits for it may wait for a slice of the host's time
hold_split:
        mov ecx, FEW_ROUNDS
.next:  pause
        lock bts dword [LOCK_SPLIT], 20
        jc .next
        inc dword [guarded]
        lock btr dword [LOCK_SPLIT], 20
.other: pause
        mov eax, 0x100000
        xchg [LOCK_SPLIT], eax
        test eax, eax
        jnz .other
        inc dword [guarded]
        lock and dword [LOCK_SPLIT], 0
        dec ecx
        jnz .next
        ret
inc_beside:
        mov ecx, FEW_ROUNDS
.next:  lock inc dword [beside]
        dec ecx
        jnz .next
        ret
beside: dd 0
; DR0 watches something else
inc_armed:
        mov eax, PAIR
        mov dr0, rax
        mov eax, 0xd0401
        mov dr7, rax
        mov ecx, ROUNDS / 4
.next:  lock inc dword [guarded]
        dec ecx
        jnz .next
        mov eax, 0x400
        mov dr7, rax
        ret

across: mov ecx, ROUNDS
.next:  lock inc dword [ACROSS]
        dec ecx
        jnz .next
        ret
inside: mov ecx, ROUNDS
.next:  lock add word [INSIDE], 1
        dec ecx
        jnz .next
        ret
exchange:
        mov ecx, ROUNDS
.next:  mov rax, [OVER]
.again: lea rdx, [rax + 1]
        lock cmpxchg [OVER], rdx
        jnz .again
        dec ecx
        jnz .next
        ret
add_over:
        mov ecx, ROUNDS
.next:  mov eax, 1
        lock xadd [OVER], rax
        dec ecx
        jnz .next
        ret
; increments the low half
pair_low:
        mov r8d, ROUNDS
.next:  mov rax, [PAIR]
        mov rdx, [PAIR + 8]
.again: lea rbx, [rax + 1]
        mov rcx, rdx
        lock cmpxchg16b [PAIR]
        jnz .again
        dec r8d
        jnz .next
        ret
pair_high:
        mov r8d, ROUNDS
.next:  mov rax, [PAIR]
        mov rdx, [PAIR + 8]
.again: mov rbx, rax
        lea rcx, [rdx + 1]
        lock cmpxchg16b [PAIR]
        jnz .again
        dec r8d
        jnz .next
        ret
high_inc:
        mov ecx, ROUNDS
.next:  lock inc qword [PAIR + 8]
        dec ecx
        jnz .next
        ret
; every value is kept until it has been seen
low_store:
        xor ecx, ecx
.next:  inc ecx
        mov [PAIR], rcx
        cmp [PAIR], rcx
        jne .lost
        cmp ecx, ROUNDS
        jb .next
        ret
.lost:  mov qword [PAIR], -1
        ret

        align 8
work:           dq 0
finished:       dd 0
        align 64
guarded:        dd 0
