; Litmus tests: what x86-TSO forbids (SDM volume 3, 9.2 and 9.3) must not be seen between processors.
;
;   nasm -i tests/system/guests/ -f bin -o litmus.bin tests/guest/asm/litmus.asm
;   bhyve -c 2 ... -f multiboot,litmus.bin,,MS vm               (MS: hexadecimal milliseconds for each test, 60 by default)
;
; Each test is a line "NAME: forbidden F of R rounds" or "NAME: allowed, seen S of R rounds", all numbers hexadecimal. The last line is
; "end". Tests for three and four processors are left out where there are fewer.
%include "common.nasm"
%include "processors.nasm"

MOST            equ 4
; What the processors share, each in cache lines of its own.
X               equ SCRATCH + 0x1000
Y               equ SCRATCH + 0x1100
GO              equ SCRATCH + 0x1200            ; number of the round
FINISHED        equ SCRATCH + 0x2000            ; per processor: the round that it has done
R0              equ SCRATCH + 0x3000            ; per processor: what it has read
R1              equ SCRATCH + 0x3008
OWN             equ SCRATCH + 0x4000            ; per processor: nobody else looks here
LINE_BYTES      equ 0x100
; Two pages that are no neighbours in memory, for each processor.
PAGE_TABLE      equ SCRATCH + 0x8000
SPLIT           equ 0x20000000
SPLIT_MEMORY    equ SCRATCH + 0x10000

        bits 32
main:
        mov esi, [ebx + 16]                     ; the command line, with the kernel's path before it
.path:  lodsb
        cmp al, ' '
        je .blank
        test al, al
        jnz .path
        dec esi
.blank: xor edx, edx
.digit: lodsb
        sub al, '0'
        jb .number
        cmp al, 9
        jbe .add
        sub al, 'a' - '0' - 10
        cmp al, 10
        jb .number
        cmp al, 15
        ja .number
.add:   shl edx, 4
        movzx eax, al
        or edx, eax
        jmp .digit
.number:
        test edx, edx
        jnz .given
        mov edx, 60
.given: imul edx, edx, 2000000                  ; at some 2 GHz
        mov [length], edx
        LONG start

        bits 64
start:
        mov edi, SCRATCH
        mov ecx, 0x40000
        xor eax, eax
        rep stosb
        ; 4 KiB pages at SPLIT, each followed by one from elsewhere
        mov dword [PD0 + (SPLIT >> 21) * 8], PAGE_TABLE | 7
        xor ecx, ecx
.page:  mov eax, ecx
        shl eax, 13
        add eax, SPLIT_MEMORY | 7
        mov [PAGE_TABLE + rcx * 8], rax
        inc ecx
        cmp ecx, MOST * 2
        jb .page
        invlpg [SPLIT]
        mov dword [hooks + 0x50 * 4], nothing
        mov dword [hooks + 6 * 4], undefined
        WAKE_OTHERS
        mov r15d, 50000000
.up:    pause
        dec r15d
        jz .all
        cmp dword [arrived], 1
        jb .up
        ; the others have as long again
        cmp r15d, 3000000
        jb .up
        mov r15d, 3000000
        jmp .up
.all:   mov eax, [arrived]
        inc eax
        SHOW "processors", rax
        xor r12d, r12d
        mov r14d, 12345
        jmp tests

; What every other processor does for ever. R12: its number times LINE_BYTES.
other:
        mov eax, 1
        lock xadd [arrived], eax
        inc eax
        mov r14d, eax
        mov edx, eax
        shl eax, 12
        mov esp, USER_STACK_TOP
        sub rsp, rax
        mov r12d, edx
        imul r12d, r12d, LINE_BYTES
        lidt [idt_pointer64]
        xor r13d, r13d
.wait:  pause
        mov eax, [GO]
        cmp eax, r13d
        je .wait
        mov r13d, eax
        call once
        mov [FINISHED + r12], r13d
        jmp .wait

; This processor's part of a round, after a moment of random length.
once:
        imul r14d, r14d, 1103515245
        add r14d, 12345
        mov ecx, r14d
        shr ecx, 20
        and ecx, 63
.delay: dec ecx
        jns .delay
        mov eax, r12d
        shr eax, 5
        mov rax, [bodies + rax]
        test rax, rax
        jz .none
        jmp rax
.none:  ret

; Runs the test whose parts are in `bodies` and whose check is RBX, for its time. RBP: outcomes that RBX looks for; R11: rounds.
rounds:
        xor ebp, ebp
        xor r8d, r8d
        rdtsc
        shl rdx, 32
        or rdx, rax
        mov eax, [length]
        lea r10, [rdx + rax]
.round: xor eax, eax
        mov [X], rax
        mov [Y], rax
%assign n 0
%rep MOST
        mov [R0 + n * LINE_BYTES], rax
        mov [R1 + n * LINE_BYTES], rax
%assign n n + 1
%endrep
        inc dword [GO]
        push rbx
        call once
        pop rbx
        mov ecx, [arrived]
.wait:  mov eax, ecx
        imul eax, eax, LINE_BYTES
        mov edx, [GO]
.one:   pause
        cmp [FINISHED + rax], edx
        jne .one
        dec ecx
        jnz .wait
        call rbx
        jne .not
        inc ebp
.not:   inc r8d
        rdtsc
        shl rdx, 32
        or rdx, rax
        cmp rdx, r10
        jb .round
        ret

%macro REPORT 1                                 ; word for the outcomes
        PRINT %1, " "
        NUMBER rbp
        PRINT " of "
        NUMBER r8
        LINE " rounds"
%endmacro
; FORBIDDEN "name", check, body0, body1 [, body2, body3]
%macro TEST_OF 3-6 0, 0
        mov ebx, %1
        mov qword [bodies], %2
        mov qword [bodies + 8], %3
        mov qword [bodies + 16], %4
        mov qword [bodies + 24], %5
        call rounds
%endmacro
%macro FORBIDDEN 4-6 0, 0
        PRINT %1, ": "
        TEST_OF %2, %3, %4, %5, %6
        REPORT "forbidden"
%endmacro
%macro ALLOWED 4-6 0, 0
        PRINT %1, ": "
        TEST_OF %2, %3, %4, %5, %6
        REPORT "allowed, seen"
%endmacro

; Store buffering with an instruction between the store and the load.
%macro STORE_BUFFERING 2+                       ; name, the instruction
        jmp %%over
%%a:    mov qword [X], 1
        %2
        mov rax, [Y]
        mov [R0], rax
        ret
%%b:    mov qword [Y], 1
        %2
        mov rax, [X]
        mov [R0 + LINE_BYTES], rax
        ret
%%over: FORBIDDEN %1, both_read_zero, %%a, %%b
%endmacro

; Outcomes: ZF is set for what is looked for.
both_read_zero:
        mov rax, [R0]
        or rax, [R0 + LINE_BYTES]
        ret
both_read_one:
        mov rax, [R0]
        and rax, [R0 + LINE_BYTES]
        cmp rax, 1
        ret
flag_without_data:                              ; the second processor saw Y, then not X
        cmp qword [R0 + LINE_BYTES], 1
        jne .no
        cmp qword [R1 + LINE_BYTES], 0
.no:    ret
went_back:
        mov rax, [R1 + LINE_BYTES]
        sub rax, [R0 + LINE_BYTES]
        shr rax, 63
        xor eax, 1
        ret
crossed:                                        ; each read the other's value over its own
        cmp qword [R0], 2
        jne .no
        cmp qword [R0 + LINE_BYTES], 1
.no:    ret
forwarded:                                      ; n6
        cmp qword [R0], 1
        jne .no
        cmp qword [R1], 0
        jne .no
        cmp qword [X], 1
.no:    ret
both_first:                                     ; 2+2W
        cmp qword [X], 1
        jne .no
        cmp qword [Y], 1
.no:    ret
overtaken:                                      ; S
        cmp qword [R0 + LINE_BYTES], 1
        jne .no
        cmp qword [X], 2
.no:    ret
late:                                           ; R
        cmp qword [Y], 2
        jne .no
        cmp qword [R0 + LINE_BYTES], 0
.no:    ret
two_orders:                                     ; IRIW
        cmp qword [R0 + 2 * LINE_BYTES], 1
        jne .no
        cmp qword [R1 + 2 * LINE_BYTES], 0
        jne .no
        cmp qword [R0 + 3 * LINE_BYTES], 1
        jne .no
        cmp qword [R1 + 3 * LINE_BYTES], 0
.no:    ret
not_causal:                                     ; WRC
        cmp qword [R0 + LINE_BYTES], 1
        jne .no
        cmp qword [R0 + 2 * LINE_BYTES], 1
        jne .no
        cmp qword [R1 + 2 * LINE_BYTES], 0
.no:    ret

; Parts of tests.
store_x:
        mov qword [X], 1
        ret
store_y:
        mov qword [Y], 1
        ret
store_x_y:
        mov qword [X], 1
        mov qword [Y], 1
        ret
store_x_sfence_y:
        mov qword [X], 1
        sfence
        mov qword [Y], 1
        ret
move_x_y:                                       ; vector and string stores are stores
        movq xmm0, [one]
        movq [X], xmm0
        mov edi, Y
        mov esi, one
        mov ecx, 8
        rep movsb
        ret
store_x_twice:
        mov qword [X], 1
        mov qword [X], 2
        ret
store_x1_y2:
        mov qword [X], 1
        mov qword [Y], 2
        ret
store_y1_x2:
        mov qword [Y], 1
        mov qword [X], 2
        ret
store_x2_y1:
        mov qword [X], 2
        mov qword [Y], 1
        ret
load_x_y:                                       ; of the third processor
        mov rax, [X]
        mov rdx, [Y]
        mov [R0 + 2 * LINE_BYTES], rax
        mov [R1 + 2 * LINE_BYTES], rdx
        ret
load_y_x_2:
        mov rax, [Y]
        mov rdx, [X]
        mov [R0 + 2 * LINE_BYTES], rax
        mov [R1 + 2 * LINE_BYTES], rdx
        ret
load_y_x_3:
        mov rax, [Y]
        mov rdx, [X]
        mov [R0 + 3 * LINE_BYTES], rax
        mov [R1 + 3 * LINE_BYTES], rdx
        ret
load_y_x:
        mov rax, [Y]
        mov rdx, [X]
        mov [R0 + LINE_BYTES], rax
        mov [R1 + LINE_BYTES], rdx
        ret
load_y_lfence_x:
        mov rax, [Y]
        lfence
        mov rdx, [X]
        mov [R0 + LINE_BYTES], rax
        mov [R1 + LINE_BYTES], rdx
        ret
load_x_twice:
        mov rax, [X]
        mov rdx, [X]
        mov [R0 + LINE_BYTES], rax
        mov [R1 + LINE_BYTES], rdx
        ret
load_x_store_y:
        mov rax, [X]
        mov qword [Y], 1
        mov [R0], rax
        ret
load_x_store_y_1:
        mov rax, [X]
        mov [Y], rax
        mov [R0 + LINE_BYTES], rax
        ret
load_y_store_x:
        mov rax, [Y]
        mov qword [X], 1
        mov [R0 + LINE_BYTES], rax
        ret
plain_a:
        mov qword [X], 1
        mov rax, [Y]
        mov [R0], rax
        ret
plain_b:
        mov qword [Y], 1
        mov rax, [X]
        mov [R0 + LINE_BYTES], rax
        ret
lfence_a:
        mov qword [X], 1
        lfence
        mov rax, [Y]
        mov [R0], rax
        ret
lfence_b:
        mov qword [Y], 1
        lfence
        mov rax, [X]
        mov [R0 + LINE_BYTES], rax
        ret
n5_a:
        mov qword [X], 1
        mov rax, [X]
        mov [R0], rax
        ret
n5_b:
        mov qword [X], 2
        mov rax, [X]
        mov [R0 + LINE_BYTES], rax
        ret
n6_a:
        mov qword [X], 1
        mov rax, [X]
        mov rdx, [Y]
        mov [R0], rax
        mov [R1], rdx
        ret
store_y2_mfence_load_x:
        mov qword [Y], 2
        mfence
        mov rax, [X]
        mov [R0 + LINE_BYTES], rax
        ret
exchange_a:
        mov eax, 1
        xchg [X], rax
        mov rax, [Y]
        mov [R0], rax
        ret
exchange_b:
        mov eax, 1
        xchg [Y], rax
        mov rax, [X]
        mov [R0 + LINE_BYTES], rax
        ret

; Serializing instructions that change nothing.
%macro IRETQ_HERE 0
        mov rcx, rsp
        mov eax, DATA32
        push rax
        push rcx
        pushfq
        mov eax, CODE64
        push rax
        lea rax, [rel %%here]
        push rax
        iretq
%%here:
%endmacro
%macro SAME_CR 1
        mov rax, cr%1
        mov cr%1, rax
%endmacro
%macro SAME_DR 0
        mov rax, dr7
        mov dr7, rax
%endmacro
%macro SAME_MSR 0
        mov ecx, 0xc0000102                     ; KERNEL_GS_BASE
        xor eax, eax
        xor edx, edx
        wrmsr
%endmacro
%macro NO_LDT 0
        xor eax, eax
        lldt ax
%endmacro
%macro IDENTIFY 0
        push rbx
        xor eax, eax
        xor ecx, ecx
        cpuid
        pop rbx
%endmacro
%macro OWN_PAIR 0
        push rbx
        mov rax, [OWN + r12 + 16]
        mov rdx, [OWN + r12 + 24]
        mov rbx, rax
        mov rcx, rdx
        lock cmpxchg16b [OWN + r12 + 16]
        pop rbx
%endmacro
%macro OWN_EXCHANGE 0
        xchg [OWN + r12], rax
%endmacro
%macro OVER_TWO_PAGES 0
        mov eax, r12d
        shl eax, 5
        lock inc dword [SPLIT + rax + 0xffe]
%endmacro

nothing:
        ret
undefined:                                      ; goes on after UD2
        add qword [rbp + 8], 2
        ret
        add qword [rbp + 8], 2
        ret

tests:
        FORBIDDEN "message passing", flag_without_data, store_x_y, load_y_x
        FORBIDDEN "message passing, sfence and lfence", flag_without_data, store_x_sfence_y, load_y_lfence_x
        FORBIDDEN "message passing, movq and rep movsb", flag_without_data, move_x_y, load_y_x
        FORBIDDEN "load buffering", both_read_one, load_x_store_y, load_y_store_x
        FORBIDDEN "coherence of reads", went_back, store_x_twice, load_x_twice
        FORBIDDEN "2+2W", both_first, store_x1_y2, store_y1_x2
        FORBIDDEN "S", overtaken, store_x2_y1, load_y_store_x
        FORBIDDEN "R, mfence", late, store_x_y, store_y2_mfence_load_x
        FORBIDDEN "n5", crossed, n5_a, n5_b
        FORBIDDEN "store buffering, xchg", both_read_zero, exchange_a, exchange_b
        STORE_BUFFERING "store buffering, mfence", mfence
        STORE_BUFFERING "store buffering, sfence", sfence
        STORE_BUFFERING "store buffering, lock or", lock or dword [rsp], 0
        STORE_BUFFERING "store buffering, xchg elsewhere", OWN_EXCHANGE
        STORE_BUFFERING "store buffering, lock inc over two words", lock inc dword [OWN + r12 + 6]
        STORE_BUFFERING "store buffering, lock inc over two pages", OVER_TWO_PAGES
        STORE_BUFFERING "store buffering, cmpxchg16b", OWN_PAIR
        STORE_BUFFERING "store buffering, cpuid", IDENTIFY
        STORE_BUFFERING "store buffering, iretq", IRETQ_HERE
        STORE_BUFFERING "store buffering, mov cr0", SAME_CR 0
        STORE_BUFFERING "store buffering, mov cr3", SAME_CR 3
        STORE_BUFFERING "store buffering, mov cr4", SAME_CR 4
        STORE_BUFFERING "store buffering, mov dr7", SAME_DR
        STORE_BUFFERING "store buffering, wrmsr", SAME_MSR
        STORE_BUFFERING "store buffering, invlpg", invlpg [OWN]
        STORE_BUFFERING "store buffering, lgdt", lgdt [gdt_pointer]
        STORE_BUFFERING "store buffering, lidt", lidt [idt_pointer64]
        STORE_BUFFERING "store buffering, lldt", NO_LDT
        STORE_BUFFERING "store buffering, wbinvd", wbinvd
        STORE_BUFFERING "store buffering, in", in al, 0x61
        STORE_BUFFERING "store buffering, uncached load", mov eax, [abs LOCAL_APIC + 0x20]
        STORE_BUFFERING "store buffering, int", int 0x50
        STORE_BUFFERING "store buffering, #UD", ud2
        ; What is allowed: whether it is seen tells how near to each other the processors ran
        ALLOWED "store buffering", both_read_zero, plain_a, plain_b
        ALLOWED "store buffering, lfence", both_read_zero, lfence_a, lfence_b
        ALLOWED "n6", forwarded, n6_a, store_y1_x2
        cmp dword [arrived], 2
        jb .end
        FORBIDDEN "WRC", not_causal, store_x, load_x_store_y_1, load_y_x_2
        cmp dword [arrived], 3
        jb .end
        FORBIDDEN "IRIW", two_orders, store_x, store_y, load_x_y, load_y_x_3
.end:   LINE "end"
        EXIT

        align 8
one:            dq 1
bodies:         times MOST dq 0
length:         dd 0
arrived:        dd 0
