; Hardware task switches: JMP, CALL, IRET and task gates; busy bits, links, NT, TS, T; 16-bit and virtual-8086 tasks; what is refused.
%include "common.nasm"

TASK_SEL        equ FREE_SEL            ; the other task
GATE_SEL        equ FREE_SEL + 0x08     ; a task gate to it
SHORT_SEL       equ FREE_SEL + 0x10     ; a TSS whose limit is too small
ABSENT_SEL      equ FREE_SEL + 0x18     ; one that is not present
TASK16_SEL      equ FREE_SEL + 0x20     ; a 16-bit one
LDT_SEL         equ FREE_SEL + 0x28     ; the other task's LDT
ABSENT_GATE     equ FREE_SEL + 0x30
HANDLER_SEL     equ FREE_SEL + 0x40     ; the task that treats #TS
task            equ SCRATCH
task16          equ SCRATCH + 0x100
ldt             equ SCRATCH + 0x200
handler         equ SCRATCH + 0x300
V8086_BASE      equ 0x9000
TASK_STACK      equ USER_STACK_TOP

; DESCRIBE selector, base, limit, access byte
%macro DESCRIBE 4
        mov dword [gdt + %1], ((%2 & 0xffff) << 16) | %3
        mov dword [gdt + %1 + 4], (%2 & 0xff000000) | (%4 << 8) | ((%2 >> 16) & 0xff)
%endmacro

        bits 32
; TASK label: the other task begins there, with everything else flat and zero.
%macro TASK 1
        mov eax, %1
        call prepare_task
%endmacro
prepare_task:
        push edi
        push ecx
        push eax
        mov edi, task
        mov ecx, 26
        xor eax, eax
        rep stosd
        pop dword [task + 0x20]
        mov dword [task + 0x04], IST_TOP        ; ring 0 stack
        mov dword [task + 0x08], DATA32
        mov dword [task + 0x24], 2
        mov dword [task + 0x34], 0x77           ; EBX
        mov dword [task + 0x38], TASK_STACK
        mov dword [task + 0x48], DATA32
        mov dword [task + 0x4c], CODE32
        mov dword [task + 0x50], DATA32
        mov dword [task + 0x54], DATA32
        mov word [task + 0x66], 104
        DESCRIBE TASK_SEL, task, 103, 0x89
        pop ecx
        pop edi
        ret

; What a task finds: TR, flags, TS, link and the busy bits. Keeps nothing.
%macro FOUND 1
        PRINT %1, ": tr "
        xor eax, eax
        str ax
        NUMBER eax
        pushfd
        pop ebx
        and ebx, 0x4000
        PRINT " NT "
        NUMBER ebx
        mov ebx, cr0
        and ebx, 8
        PRINT " TS "
        NUMBER ebx
        clts
        movzx ebx, word [task]
        PRINT " link "
        NUMBER ebx
        PRINT " types "
        movzx ebx, byte [gdt + TSS_SEL + 5]
        NUMBER ebx
        PRINT " "
        movzx ebx, byte [gdt + TASK_SEL + 5]
        NUMBER ebx
        PRINT 10
%endmacro

main:
        LINE "tasks"
        call load_tss32
        DESCRIBE SHORT_SEL, task, 102, 0x89
        DESCRIBE ABSENT_SEL, task, 103, 0x09
        mov dword [gdt + GATE_SEL], TASK_SEL << 16
        mov dword [gdt + GATE_SEL + 4], 0x8500
        mov dword [gdt + ABSENT_GATE], TASK_SEL << 16
        mov dword [gdt + ABSENT_GATE + 4], 0x0500

        ; JMP there and back
        TASK .jumped
        mov edi, 0x11223344
        jmp TASK_SEL:0
.back:  FOUND "back by jmp"
        SHOW "edi", edi
        mov eax, [tss32 + 0x20]
        sub eax, .back
        SHOW "saved eip minus next instruction", eax
        mov eax, [tss32 + 0x44]
        SHOW "saved edi", eax
        jmp .call
.jumped:
        SHOW "ebx of the task", ebx
        SHOW "esp of the task", esp
        FOUND "by jmp"
        jmp TSS_SEL:0

        ; CALL, and IRET back; the next CALL goes on behind the IRET
.call:  TASK .called
        call TASK_SEL:0
        FOUND "back by iret"
        call TASK_SEL:0
        FOUND "back again"
        jmp .gate
.called:
        FOUND "by call"
        iret
        FOUND "behind iret"
        iret

        ; task gates
.gate:  TASK .through
        call GATE_SEL:0
        FOUND "back from the gate"
        TASK .jumped2
        jmp GATE_SEL:0
        FOUND "back by jmp"
        mov dword [idt32 + 0x41 * 8], TASK_SEL << 16
        mov dword [idt32 + 0x41 * 8 + 4], 0x8500
        TASK .through
        sti
        int 0x41
        pushfd
        cli
        pop eax
        and eax, 0x4200
        SHOW "IF NT after int through a gate", eax
        ; an error code goes onto the new task's stack
        push dword [idt32 + 13 * 8]
        push dword [idt32 + 13 * 8 + 4]
        mov dword [idt32 + 13 * 8], TASK_SEL << 16
        mov dword [idt32 + 13 * 8 + 4], 0x8500
        TASK .fault
        mov eax, 0x7f8
        mov fs, ax                      ; #GP(0x7f8); the task steps over it
.fault_end:
        FOUND "back from #GP"
        pop dword [idt32 + 13 * 8 + 4]
        pop dword [idt32 + 13 * 8]
        jmp .refused
.through:
        FOUND "through a gate"
        iret
.jumped2:
        FOUND "by jmp through a gate"
        jmp TSS_SEL:0
.fault: pop eax
        SHOW "error code", eax
        SHOW "esp", esp
        FOUND "#GP in a task"
        mov eax, [tss32 + 0x20]
        sub eax, .fault_end
        SHOW "eip minus end", eax
        mov dword [tss32 + 0x20], .fault_end
        iret

        ; what is refused, with the old task in place
.refused:
        TASK .through
        TRY
        call TSS_SEL:0
        TRIED "call of a busy task"
        TRY
        jmp SHORT_SEL:0
        TRIED "jmp to a short tss"
        TRY
        jmp ABSENT_SEL:0
        TRIED "jmp to an absent tss"
        TRY
        jmp ABSENT_GATE:0
        TRIED "jmp through an absent gate"
        TRY
        jmp (TASK_SEL | 3):0
        TRIED "jmp to a tss with rpl 3"
        mov dword [gdt + GATE_SEL], DATA32 << 16
        TRY
        call GATE_SEL:0
        TRIED "call through a gate to data"
        mov dword [gdt + GATE_SEL], 0
        TRY
        call GATE_SEL:0
        TRIED "call through a gate to null"
        mov word [tss32], TASK_SEL
        TRY
        pushfd
        or dword [esp], 0x4000
        popfd
        iret
        TRIED "iret to a task that is not busy"
        mov word [tss32], 0x7f8
        TRY
        pushfd
        or dword [esp], 0x4000
        popfd
        iret
        TRIED "iret beyond the gdt"
        FOUND "still here"

        ; What goes wrong when the new task is in place: its segments may be unfit for any handler but a task of its own.
%macro BROKEN 3                         ; name, offset in the TSS, word
        PRINT %1, ": "
        TASK .never
        mov word [task + %2], %3
        jmp TASK_SEL:0                  ; the handler comes back behind this
        clts
%endmacro
        mov edi, handler
        mov ecx, 26
        xor eax, eax
        rep stosd
        mov dword [handler + 0x20], .handler
        mov dword [handler + 0x24], 2
        mov dword [handler + 0x38], TASK_STACK - 0x1000
        mov dword [handler + 0x48], DATA32
        mov dword [handler + 0x4c], CODE32
        mov dword [handler + 0x50], DATA32
        mov dword [handler + 0x54], DATA32
        DESCRIBE HANDLER_SEL, handler, 103, 0x89
        push dword [idt32 + 10 * 8]
        push dword [idt32 + 10 * 8 + 4]
        mov dword [idt32 + 10 * 8], HANDLER_SEL << 16
        mov dword [idt32 + 10 * 8 + 4], 0x8500
        BROKEN "cs null", 0x4c, 0
        BROKEN "cs data", 0x4c, DATA32
        BROKEN "cs beyond the gdt", 0x4c, 0x7f8
        BROKEN "ss null", 0x50, 0
        BROKEN "ss code", 0x50, CODE32
        BROKEN "ds beyond the gdt", 0x54, 0x7f8
        BROKEN "ldt of a data segment", 0x60, DATA32
        pop dword [idt32 + 10 * 8 + 4]
        pop dword [idt32 + 10 * 8]
        jmp .local
.never: LINE "never"
        EXIT
.handler:
        pop eax
        PRINT "#TS error "
        NUMBER eax
        PRINT " link "
        movzx eax, word [handler]
        NUMBER eax
        xor eax, eax
        str ax
        SHOW " tr", eax
        jmp TSS_SEL:0
        jmp .handler

        ; an LDT of its own
.local: DESCRIBE LDT_SEL, ldt, 7, 0x82
        mov dword [ldt], 0x0000ffff
        mov dword [ldt + 4], 0x00cf9300
        TASK .has_ldt
        mov word [task + 0x60], LDT_SEL
        mov word [task + 0x54], 4
        jmp TASK_SEL:0
        xor eax, eax
        sldt ax
        SHOW "ldt back", eax
        jmp .small
.has_ldt:
        xor eax, eax
        sldt ax
        SHOW "ldt", eax
        mov eax, ds
        SHOW "ds", eax
        mov eax, DATA32
        mov ds, eax
        jmp TSS_SEL:0

        ; a 16-bit TSS: 16-bit registers, no FS and GS
.small: clts
        mov edi, task16
        mov ecx, 22
        xor eax, eax
        rep stosw
        DESCRIBE CODE16_FLAT, 0x100000, 0xffff, 0x9b
        DESCRIBE TASK16_SEL, task16, 43, 0x81
        mov word [task16 + 0x0e], small16 - image_start
        mov word [task16 + 0x10], 2
        mov word [task16 + 0x12], 0x1234        ; AX
        mov word [task16 + 0x1a], 0x7000        ; SP
        mov word [task16 + 0x22], DATA32
        mov word [task16 + 0x24], CODE16_FLAT
        mov word [task16 + 0x26], DATA16
        mov word [task16 + 0x28], DATA32
        mov eax, DATA32
        mov fs, eax
        mov ebp, 0xabcd0000
        call TASK16_SEL:0
        SHOW "ax in the 16-bit task", [value]
        SHOW "fs in the 16-bit task", [value + 4]
        movzx eax, word [task16 + 0x0e]
        sub eax, small16.end - image_start
        SHOW "saved ip minus next instruction", eax
        mov eax, fs
        SHOW "fs back", eax
        clts

        ; a virtual-8086 task
        TASK 0
        mov byte [V8086_BASE], 0xf4             ; HLT: #GP to ring 0 of that task
        mov dword [task + 0x20], 0
        mov dword [task + 0x24], 0x20002
        mov dword [task + 0x4c], V8086_BASE >> 4
        mov dword [task + 0x50], 0x700
        TRY
        jmp TASK_SEL:0
        jmp .v8086_over
        TRIED "hlt in a virtual-8086 task"
        SHOW "VM in the frame", [exc_flags]
        SHOW "cs", [exc_cs]
        jmp TSS_SEL:0
.v8086_over:
        clts

        ; the T bit
        mov dword [hooks + 4], on_db
        mov dword [value], 0
        mov dword [value + 8], .traced - 1
        TASK .traced
        mov byte [task + 0x64], 1
        jmp TASK_SEL:0
        clts
        SHOW "traps", [value]
        mov eax, [value + 4]
        and eax, 0xe00f
        SHOW "dr6", eax
        mov eax, [value + 8]
        sub eax, .traced
        SHOW "at", eax
        LINE "end"
        EXIT
.traced:
        mov eax, 1
        jmp TSS_SEL:0

on_db:  inc dword [value]
        mov eax, dr6
        mov [value + 4], eax
        mov eax, [ebp + 4]
        mov [value + 8], eax
        xor eax, eax
        mov dr6, eax
        ret

CODE16_FLAT     equ FREE_SEL + 0x38
        bits 16
small16:
        mov [dword value], ax
        mov ax, fs
        mov [dword value + 4], ax
        iret
.end:
        bits 32
        align 8
value:  times 4 dd 0
