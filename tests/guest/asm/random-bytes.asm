; Executes random bytes without end. Processor 0 supervises: for every case it fills memory with random code, random registers and fresh
; system tables, starts processor 1 on them by INIT and SIPI, and waits until an exception of the case reaches a handler, or its time is
; over. INIT gets processor 1 out of whatever it is in. What it may break is restored, as far as that is possible: a case may still
; reset the machine, shut it down by a triple fault, or end the supervisor; whoever runs this starts it again with another seed.
;
;   nasm -i tests/system/guests/ -f bin -o random-bytes.bin tests/guest/asm/random-bytes.asm
;   bhyve -c 2 ... -f multiboot,random-bytes.bin,,SEED MODES vm          (hexadecimal; MODES: a bit for each of the modes below)
;
; About once in a second a line for each mode, all numbers hexadecimal: "mode M cases N hung N: " and 33 counters, the exceptions that
; ended a case by vector (0 ... 31, others).
%include "common.nasm"

MODES           equ 8
REAL            equ 0
PROTECTED_0     equ 1                   ; 32 bits, ring 0, no paging
PROTECTED_3     equ 2
VIRTUAL_8086    equ 3
PROTECTED16_0   equ 4                   ; a 16-bit segment, ring 0, with paging
LONG_0          equ 5
LONG_3          equ 6
COMPATIBILITY_3 equ 7

; Physical memory of processor 1, mapped where it is. Page 7 is shared with the supervisor.
SHARED          equ 0x7000
mode            equ SHARED              ; of the next case
ended           equ SHARED + 4          ; 0, or the vector that ended the case + 1
real_frame      equ SHARED + 0x40       ; IP, CS, FLAGS, DS, ES
registers32     equ SHARED + 0x100      ; POPAD's, then the frame of IRETD: EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS
frame32         equ registers32 + 32
registers64     equ SHARED + 0x200      ; 15, then the frame of IRETQ
frame64         equ registers64 + 15 * 8
vectors         equ SHARED + 0x400      ; 16 YMM registers
VICTIM          equ 0x8000              ; its code and tables; the SIPI's vector says so
GATES           equ 0xa000              ; IDTs
WRITABLE        equ 0xc000              ; GDT and TSSs
TABLES_32       equ 0x10000             ; page directory, page table
TABLES_64       equ 0x12000             ; PML4, PDPT, page directory, page table
CODE            equ 0x20000             ; random bytes, and what is random for data
CODE_BYTES      equ 0x400
USER_STACK      equ 0x50000
RING0_STACK     equ 0x60000
RING0_STACK_2   equ 0x64000             ; of the interrupt stack table and of the double fault's task

APIC            equ 0xfee00000
APIC_EOI        equ 0x0b0
APIC_SPURIOUS   equ 0x0f0
APIC_ICR        equ 0x300
APIC_ICR_HIGH   equ 0x310
APIC_LVT_TIMER  equ 0x320
APIC_INITIAL    equ 0x380
APIC_DIVIDE     equ 0x3e0
TIMER_VECTOR    equ 0x40
TICK            equ 33554               ; 250 us of the APIC timer's 134 MHz
TICKS_PER_CASE  equ 40
TICKS_PER_REPORT equ 4000
GIVE_UP_AFTER   equ 400                 ; cases in a row that do nothing: processor 1 does not answer any more

        bits 32
main:
        mov esi, [ebx + 16]             ; the command line, with the kernel's path before it
.path:  lodsb
        cmp al, ' '
        ja .path
        call parse_hex
        mov [state], eax
        or dword [state], 1
        call parse_hex
        mov [modes], eax
        LINE "random bytes"
        mov dword [hooks + TIMER_VECTOR * 4], tick
        mov dword [APIC + APIC_SPURIOUS], 0x1ff
        mov dword [APIC + APIC_DIVIDE], 0x0b
        mov dword [APIC + APIC_LVT_TIMER], 0x20000 | TIMER_VECTOR
        mov dword [APIC + APIC_INITIAL], TICK

next_case:
        mov eax, [current]
.choose:
        inc eax
        and eax, MODES - 1
        bt [modes], eax
        jnc .choose
        mov [current], eax
        mov dword [APIC + APIC_ICR_HIGH], 1 << 24
        mov dword [APIC + APIC_ICR], 0x4500             ; INIT
        call prepare
        mov dword [APIC + APIC_ICR_HIGH], 1 << 24
        mov dword [APIC + APIC_ICR], 0x4600 | VICTIM >> 12
        mov dword [ticks], 0
.wait:  cli
        cmp dword [ended], 0
        jne .done
        cmp dword [ticks], TICKS_PER_CASE
        jae .hung
        sti
        hlt
        jmp .wait
.hung:
        imul edi, [current], 36 * 4
        inc dword [counters + edi + 4]
        inc dword [silent]
        cmp dword [silent], GIVE_UP_AFTER
        jb .count
        LINE "no answer"
        mov al, 6
        mov dx, 0xcf9
        out dx, al
        jmp $
.done:
        mov dword [silent], 0
        imul edi, [current], 36 * 4
        mov eax, [ended]
        dec eax
        cmp eax, 32
        jb .vector
        mov eax, 32
.vector:
        inc dword [counters + edi + 8 + eax * 4]
.count:
        inc dword [counters + edi]
        sti
        cmp dword [since_report], TICKS_PER_REPORT
        jb next_case
        mov dword [since_report], 0
        call report
        jmp next_case

tick:                                   ; with EBP at the frame
        inc dword [ticks]
        inc dword [since_report]
        mov dword [APIC + APIC_EOI], 0
        ret

; ESI: text; a hexadecimal number after blanks to EAX.
parse_hex:
        xor eax, eax
.blank: cmp byte [esi], ' '
        jne .digit
        inc esi
        jmp .blank
.digit: movzx ecx, byte [esi]
        cmp cl, ' '
        jbe .end
        inc esi
        sub cl, '0'
        cmp cl, 9
        jbe .add
        sub cl, 'a' - '0' - 10
.add:   shl eax, 4
        and ecx, 15
        or eax, ecx
        jmp .digit
.end:   ret

report:
        ; The case may have programmed the port.
        mov dx, COM1 + 3
        mov al, 3
        out dx, al
        mov dx, COM1 + 1
        xor eax, eax
        out dx, al
        mov dx, COM1 + 4
        out dx, al
        xor ebx, ebx
.mode:
        bt [modes], ebx
        jnc .next
        imul edi, ebx, 36 * 4
        PRINT 10, "mode "
        NUMBER ebx
        PRINT " cases "
        NUMBER [counters + edi]
        PRINT " hung "
        NUMBER [counters + edi + 4]
        PRINT ":"
        xor ecx, ecx
.vector:
        PRINT " "
        NUMBER [counters + edi + 8 + ecx * 4]
        inc ecx
        cmp ecx, 33
        jb .vector
        PRINT ".", 10
.next:  inc ebx
        cmp ebx, MODES
        jb .mode
        ret

; xorshift32 (Marsaglia 2003) to EAX.
random:
        mov eax, [state]
        mov edx, eax
        shl edx, 13
        xor eax, edx
        mov edx, eax
        shr edx, 17
        xor eax, edx
        mov edx, eax
        shl edx, 5
        xor eax, edx
        mov [state], eax
        ret

; A number for a register to EDX:EAX: an edge, a place in the case's memory, a small one, or any.
random_value:
        call random
        mov ecx, eax
        shr ecx, 8
        test al, 3
        jz .edge
        jp .any                         ; 3
        test al, 1
        jz .small
        call random
        and eax, 0x3ffff
        add eax, CODE
        xor edx, edx
        ret
.small: movsx eax, cl
        cdq
        ret
.edge:  and ecx, 7
        mov eax, [edges + ecx * 8]
        mov edx, [edges + ecx * 8 + 4]
        ret
.any:   call random
        push eax
        call random
        pop edx
        ret

prepare:
        cld
        ; code and tables
        mov esi, victim_image
        mov edi, VICTIM
        mov ecx, victim_bytes / 4
        rep movsd
        call build_page_tables
        ; the interrupt vectors of real mode
        xor edi, edi
        mov eax, stubs_16
        mov ecx, 256
.ivt:   mov [edi], eax
        add edi, 4
        cmp edi, 32 * 4
        ja .same
        add eax, STUB_BYTES
.same:  loop .ivt
        ; random bytes, one of six a byte with which the larger maps begin
        mov edi, CODE
.byte:  call random
        mov ecx, eax
        shr ecx, 24
        cmp ecx, 43
        jae .store
        and eax, 0x1f
        movzx eax, byte [leads + eax]
.store: stosb
        cmp edi, CODE + CODE_BYTES
        jb .byte
        ; registers
        mov edi, registers32
.value: call random_value
        stosd
        mov eax, edx
        stosd
        cmp edi, vectors + 16 * 32
        jb .value
        ; frames
        call random
        and eax, 0x3f7ed5               ; flags of every kind, no trap flag and no VM ...
        and eax, ~0x23000
        or eax, 2
        mov ebx, eax
        call random
        test al, 7
        jnz .no_trap
        or ebx, 0x100
.no_trap:
        test ah, 7
        jnz .no_ports
        or ebx, 0x3000
.no_ports:
        mov eax, [current]
        mov [mode], eax
        cmp eax, VIRTUAL_8086
        jne .not_virtual
        or ebx, 0x20000
        call random
        and eax, 0x3000
        or ebx, eax
.not_virtual:
        call random
        and eax, CODE_BYTES / 2 - 1
        mov ecx, eax                    ; where it begins
        mov [real_frame], ax
        mov word [real_frame + 2], CODE >> 4
        mov [real_frame + 4], bx
        call random
        and eax, 0x3fff0fff
        add eax, 0x20002000
        mov [real_frame + 6], eax       ; DS and ES
        mov edi, frame32
        mov eax, [current]
        lea edx, [ecx + CODE]
        cmp eax, PROTECTED16_0
        je .offset
        cmp eax, VIRTUAL_8086
        jne .whole
.offset:
        mov edx, ecx
.whole: mov [edi], edx                  ; EIP
        mov edx, [selectors + eax * 8]
        mov [edi + 4], edx
        mov [edi + 8], ebx
        mov dword [edi + 12], USER_STACK
        mov edx, [selectors + eax * 8 + 4]
        mov [edi + 16], edx
        cmp eax, VIRTUAL_8086
        jne .flat
        mov dword [edi + 12], 0xfff0
        mov dword [edi + 20], 0x2200
        mov dword [edi + 24], 0x2300
        mov dword [edi + 28], 0x2400
        mov dword [edi + 32], 0x3000
.flat:  mov edi, frame64
        add ecx, CODE
        mov [edi], ecx
        mov edx, [selectors + eax * 8]
        mov [edi + 8], edx
        mov [edi + 16], ebx
        mov dword [edi + 24], USER_STACK
        mov edx, [selectors + eax * 8 + 4]
        mov [edi + 32], edx
        xor eax, eax
        mov [edi + 4], eax
        mov [edi + 12], eax
        mov [edi + 20], eax
        mov [edi + 28], eax
        mov [edi + 36], eax
        mov [ended], eax
        ret

; The first MiB by 4 KiB pages: system pages for ring 0 only, and read-only but for those that the processor itself writes to.
build_page_tables:
        mov edi, TABLES_32
        mov ecx, 0x6000 / 4
        xor eax, eax
        rep stosd
        mov dword [TABLES_32], (TABLES_32 + 0x1000) | 0x67
        mov dword [TABLES_64], (TABLES_64 + 0x1000) | 0x67
        mov dword [TABLES_64 + 0x1000], (TABLES_64 + 0x2000) | 0x67
        mov dword [TABLES_64 + 0x2000], (TABLES_64 + 0x3000) | 0x67
        xor ecx, ecx
        mov ebx, SHARED
.page:  mov eax, ebx
        or eax, 0x61                    ; present, accessed, dirty
        cmp ebx, SHARED
        je .write
        cmp ebx, WRITABLE
        je .write
        cmp ebx, CODE
        jb .set
        cmp ebx, USER_STACK + 0x1000
        ja .write
        or eax, 4                       ; user
.write: or eax, 2
.set:   mov edx, ebx
        shr edx, 12
        mov [TABLES_32 + 0x1000 + edx * 4], eax
        mov [TABLES_64 + 0x3000 + edx * 8], eax
        add ebx, 0x1000
        cmp ebx, 0x80000
        jb .page
        ret

        ; Not in a page with code: a store there makes the processor look whether it changed the code.
        align 4096
edges:
        dq 0, 1, 0x7fff, 0x80000000, 0xffffffff, 1 << 63, -1, CODE + 0x100
; CS and SS of the modes
selectors:
        dd 0, 0
        dd CODE32, DATA32
        dd USER_CODE32, USER_DATA
        dd CODE >> 4, 0x2100
        dd CODE16, DATA32
        dd CODE64, DATA32
        dd USER_CODE64, USER_DATA
        dd USER_CODE32, USER_DATA
leads:
        db 0x0f, 0x0f, 0x0f, 0x0f, 0x66, 0x66, 0xf2, 0xf3, 0x48, 0x49, 0xc4, 0xc5, 0xd8, 0xd9, 0xda, 0xdb
        db 0xdc, 0xdd, 0xde, 0xdf, 0xff, 0xf7, 0xf0, 0x67, 0xa4, 0xab, 0xcf, 0xc4, 0xc5, 0x0f, 0x8e, 0x0f
state:          dd 0
modes:          dd 0
current:        dd 0
ticks:          dd 0
since_report:   dd 0
silent:         dd 0
counters:       times MODES * 36 dd 0

        align 128                       ; as the section below
victim_image:
; ---------------------------------------------------------------------------------------------------------------------
; Processor 1, copied to VICTIM
        section .victim align=128 vstart=VICTIM follows=.text
        bits 16
victim_start:
        cli
        jmp 0:.here
.here:  xor ax, ax
        mov ds, ax
        cmp byte [mode], REAL
        jne .protected
        mov ss, ax
        mov sp, registers32
        popad
        mov sp, 0x3000
        mov ss, sp
        mov sp, 0xfff0
        push word [real_frame + 4]
        push word [real_frame + 2]
        push word [real_frame]
        mov es, [real_frame + 8]
        mov ds, [real_frame + 6]
        iret
.protected:
        lgdt [victim_gdt_pointer]
        mov eax, cr0
        and eax, ~0x6000000c            ; caches on, no EM, no TS
        or eax, 0x10023                 ; WP NE MP PE
        mov cr0, eax
        jmp CODE32:.flat

        bits 32
.flat:
        mov eax, DATA32
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov ss, eax
        mov esp, RING0_STACK
        mov eax, 0x40600                ; OSFXSR OSXMMEXCPT OSXSAVE
        mov cr4, eax
        xor ecx, ecx
        xor edx, edx
        mov eax, 7
        xsetbv
        fninit
        ldmxcsr [usual_mxcsr]
%assign n 0
%rep 8
        vmovdqu ymm %+ n, [vectors + n * 32]
%assign n n + 1
%endrep
        movzx ebx, byte [mode]
        cmp ebx, LONG_0
        jae .long
        lidt [victim_idt32_pointer]
        mov eax, TSS_SEL
        ltr ax
        cmp ebx, PROTECTED_0
        je .ring0
        mov eax, TABLES_32
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        cmp ebx, PROTECTED16_0
        je .ring0
        mov eax, USER_DATA
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov esp, registers32
        popad
        iretd
.ring0:
        mov esp, registers32
        popad
        mov esp, RING0_STACK - 0x100
        push dword [frame32 + 8]
        push dword [frame32 + 4]
        push dword [frame32]
        iretd

.long:
        mov eax, cr4
        or eax, 0x10020                 ; FSGSBASE PAE
        mov cr4, eax
        mov eax, TABLES_64
        mov cr3, eax
        mov ecx, 0xc0000080
        mov eax, 0x901                  ; SCE LME NXE
        xor edx, edx
        wrmsr
        ; SYSCALL has nowhere to go: not canonical in the end
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        jmp CODE64:.far
        bits 64
.far:
        lidt [victim_idt64_pointer]
        mov eax, TSS64_SEL
        ltr ax
%assign n 8
%rep 8
        vmovdqu ymm %+ n, [abs vectors + n * 32]
%assign n n + 1
%endrep
        mov esp, registers64
        pop r15
        pop r14
        pop r13
        pop r12
        pop r11
        pop r10
        pop r9
        pop r8
        pop rdi
        pop rsi
        pop rbp
        pop rbx
        pop rdx
        pop rcx
        pop rax
        iretq

STUB_BYTES      equ 8

; Handlers: the vector, then nothing more until the next INIT. Vectors from 32 on are one.
%macro VICTIM_STUBS 1
        bits %1
        align STUB_BYTES
stubs_%1:
%assign n 0
%rep 33
        align STUB_BYTES
        push byte n
        jmp strict near ended_%1
%assign n n + 1
%endrep
%endmacro
        VICTIM_STUBS 16
ended_16:
        pop ax
        inc ax
        xor bx, bx
        mov ds, bx
        mov [ended], ax
.stop:  cli
        hlt
        jmp .stop

        VICTIM_STUBS 32
double_fault_task:
        push byte 8
ended_32:
        pop eax
        inc eax
        mov ebx, DATA32
        mov ds, ebx
        mov [ended], eax
.stop:  cli
        hlt
        jmp .stop

        VICTIM_STUBS 64
ended_64:
        pop rax
        inc eax
        mov [abs ended], eax
.stop:  cli
        hlt
        jmp .stop

        align 8
usual_mxcsr:    dd 0x1f80
victim_gdt_pointer:
        dw victim_gdt_end - victim_gdt - 1
        dd victim_gdt
victim_idt32_pointer:
        dw 256 * 8 - 1
        dd victim_idt32
victim_idt64_pointer:
        dw 256 * 16 - 1
        dq victim_idt64

        times GATES - VICTIM - ($ - $$) db 0
victim_idt32:
%assign n 0
%rep 256
%if n == 8
        dw 0, DOUBLE_FAULT_SEL, 0x8500, 0
%else
%if n < 32
%assign at n
%else
%assign at 32
%endif
        dw GATE_32 + at * STUB_BYTES, CODE32
%if n == 3 || n == 4 || n == 0x80
        dw 0xee00, 0
%else
        dw 0x8e00, 0
%endif
%endif
%assign n n + 1
%endrep
victim_idt64:
%assign n 0
%rep 256
%if n < 32
%assign at n
%else
%assign at 32
%endif
        dw GATE_64 + at * STUB_BYTES, CODE64
%if n == 3 || n == 4 || n == 0x80
        dw 0xee01, 0, 0, 0, 0, 0
%else
        dw 0x8e01, 0, 0, 0, 0, 0
%endif
%assign n n + 1
%endrep
        times WRITABLE - VICTIM - ($ - $$) db 0
victim_gdt:
        dq 0
        dq 0x00cf9b000000ffff           ; CODE32
        dq 0x00cf93000000ffff           ; DATA32
        dq 0x00af9b000000ffff           ; CODE64
        dq 0x00009b020000ffff           ; CODE16, at CODE
        dq 0x000093020000ffff           ; DATA16
        dq 0x00cffb000000ffff           ; USER_CODE32
        dq 0x00cff3000000ffff           ; USER_DATA
        dq 0x00affb000000ffff           ; USER_CODE64
        dw 103, victim_tss32, 0x8900, 0 ; TSS_SEL
        dw 103, double_fault_tss, 0x8900, 0
        dw 103, victim_tss64, 0x8900, 0, 0, 0, 0, 0
victim_gdt_end:
DOUBLE_FAULT_SEL equ 0x50
TSS64_SEL       equ 0x58
        align 128
victim_tss32:
        dd 0, RING0_STACK, DATA32
        times 22 dd 0
        dw 0, 104
double_fault_tss:
        times 7 dd 0
        dd TABLES_32, double_fault_task, 2
        times 4 dd 0
        dd RING0_STACK_2
        times 3 dd 0
        dd DATA32, CODE32, DATA32, DATA32, DATA32, DATA32, 0
        dw 0, 104
victim_tss64:
        dd 0
        dq RING0_STACK, RING0_STACK, RING0_STACK
        dq 0, RING0_STACK_2
        times 6 dq 0
        dd 0
        dw 0, 104
        align 4
victim_bytes    equ $ - $$
GATE_32         equ stubs_32 - victim_start + VICTIM
GATE_64         equ stubs_64 - victim_start + VICTIM
        section .text
image_end:
