; Segment loads and accesses in 32-bit protected mode: types, limits, presence, privilege, error codes.
%include "common.nasm"

        bits 32
; DESCRIPTOR slot, base, limit, access byte, flags nibble
%macro DESCRIPTOR 5
        mov dword [gdt + FREE_SEL + (%1) * 8], (((%2) & 0xffff) << 16) | ((%3) & 0xffff)
        mov dword [gdt + FREE_SEL + (%1) * 8 + 4], ((%2) & 0xff000000) | ((%5) << 20) | ((%3) & 0xf0000) | ((%4) << 8) | (((%2) >> 16) & 0xff)
%endmacro
%define SEL(n) (FREE_SEL + (n) * 8)

; LOAD "name", segment register, selector
%macro LOAD 3
        mov eax, %3
        TRY
        mov %2, eax
        mov eax, DATA32
        mov ds, eax
        mov ss, eax
        TRIED %1
%endmacro

main:
        LINE "segments"
        call load_tss32
        DESCRIPTOR 0, SCRATCH, 0xff, 0x93, 4            ; data, byte limit 0xff
        DESCRIPTOR 1, SCRATCH, 0xff, 0x91, 4            ; read-only data
        DESCRIPTOR 2, SCRATCH, 0xff, 0x97, 4            ; expand-down data, 32-bit
        DESCRIPTOR 3, SCRATCH, 0xff, 0x13, 4            ; data, not present
        DESCRIPTOR 4, 0, 0xfffff, 0x99, 12              ; execute-only code
        DESCRIPTOR 5, 0, 0xfffff, 0x9f, 12              ; conforming readable code
        DESCRIPTOR 6, SCRATCH, 0, 0x93, 12              ; data, limit of one page
        DESCRIPTOR 7, SCRATCH, 0xff, 0x97, 0            ; expand-down data, 16-bit
        DESCRIPTOR 8, 0, 0xfffff, 0x1b, 12              ; code, not present
        DESCRIPTOR 9, 0, 0xfffff, 0x80, 12              ; reserved system type
        DESCRIPTOR 10, 0, 0xfffff, 0xf3, 12             ; data of DPL 3
        DESCRIPTOR 11, SCRATCH, 0xff, 0x92, 4           ; data whose accessed bit is clear
        DESCRIPTOR 12, SCRATCH, 0xfffff, 0x82, 0        ; LDT
        DESCRIPTOR 13, SCRATCH, 0xff, 0x02, 0           ; LDT, not present
        DESCRIPTOR 14, SCRATCH, 0xfffff, 0x97, 12       ; expand-down with nothing valid

        LOAD "ds read-only", ds, SEL(1)
        LOAD "ds not present", ds, SEL(3)
        LOAD "ss not present", ss, SEL(3)
        LOAD "ss read-only", ss, SEL(1)
        LOAD "ss null", ss, 0
        LOAD "ss rpl 3", ss, DATA32 | 3
        LOAD "ss dpl 3", ss, SEL(10)
        LOAD "ss code", ss, CODE32
        LOAD "ds execute-only", ds, SEL(4)
        LOAD "ds readable code", ds, CODE32
        LOAD "ds conforming code", ds, SEL(5)
        LOAD "ds conforming code rpl 3", ds, SEL(5) | 3
        LOAD "ds rpl 3 dpl 0", ds, DATA32 | 3
        LOAD "ds null", ds, 0
        LOAD "ds null rpl 3", ds, 3
        LOAD "ds system", ds, TSS_SEL
        LOAD "ds reserved", ds, SEL(9)
        LOAD "ds beyond gdt", ds, 0x7f8
        LOAD "ds at gdt end", ds, gdt_end - gdt
        LOAD "ds ldt without ldt", ds, 0x0c
        TRY
        mov ax, SEL(12)
        lldt ax
        TRIED "lldt"
        TRY
        mov ax, SEL(13)
        lldt ax
        TRIED "lldt not present"
        TRY
        mov ax, SEL(0)
        lldt ax
        TRIED "lldt of a data segment"
        TRY
        mov ax, 0x0c
        lldt ax
        TRIED "lldt in the ldt"
        TRY
        mov ax, TSS_SEL
        ltr ax
        TRIED "ltr of a busy tss"
        TRY
        mov ax, 0x7f8
        ltr ax
        TRIED "ltr beyond gdt"

        ; A descriptor in the LDT.
        mov dword [SCRATCH + 8], 0x000000ff
        mov dword [SCRATCH + 12], 0x00409340
        LOAD "ds in the ldt", ds, 0x0c
        LOAD "ds in the ldt not present", ds, 0x14
        xor eax, eax
        lldt ax
        LOAD "ds after lldt null", ds, 0x0c

        ; Accessed bit
        mov eax, SEL(11)
        mov es, eax
        mov al, [gdt + SEL(11) + 5]
        and eax, 0xff
        SHOW "access byte after load", eax

        ; Far jumps
%macro FARJUMP 2
        TRY
        jmp %2:%%there
%%there:
        TRIED %1
        jmp CODE32:%%back
%%back:
%endmacro
        FARJUMP "jmp to data", DATA32
        FARJUMP "jmp to null", 0
        FARJUMP "jmp to absent code", SEL(8)
        FARJUMP "jmp rpl 3", CODE32 | 3
        FARJUMP "jmp to conforming", SEL(5)
        FARJUMP "jmp to dpl 3", USER_CODE32
        FARJUMP "jmp beyond gdt", 0x7f8
        DESCRIPTOR 15, 0, 0xfff, 0x9b, 4
        TRY
        jmp SEL(15):0x1000
        TRIED "jmp past the limit"

        ; LAR LSL VERR VERW
%macro QUERY 2
        mov ebx, %2
        mov eax, 0x12345678
        lar eax, ebx
        setz cl
        mov edx, 0x12345678
        lsl edx, ebx
        setz ch
        PRINT %1, ": lar "
        NUMBER eax
        PRINT " lsl "
        NUMBER edx
        verr bx
        setz dl
        verw bx
        setz dh
        movzx eax, cx
        PRINT " zf "
        NUMBER eax
        movzx eax, dx
        PRINT " verr verw "
        NUMBER eax
        PRINT 10
%endmacro
        QUERY "data", SEL(0)
        QUERY "read-only", SEL(1)
        QUERY "expand-down", SEL(2)
        QUERY "absent", SEL(3)
        QUERY "execute-only", SEL(4)
        QUERY "conforming", SEL(5)
        QUERY "pages", SEL(6)
        QUERY "reserved", SEL(9)
        QUERY "ldt", SEL(12)
        QUERY "tss", TSS_SEL
        QUERY "null", 0
        QUERY "rpl 3", DATA32 | 3
        QUERY "beyond", 0x7f8

        ; ARPL, SLDT, STR, SMSW
        mov eax, 0x10
        mov ebx, 0x0b
        arpl ax, bx
        setz cl
        movzx ecx, cl
        SHOW "arpl", eax
        SHOW "arpl zf", ecx
        sldt eax
        SHOW "sldt", eax
        sgdt [SCRATCH]
        movzx eax, word [SCRATCH]
        SHOW "gdt limit", eax
        sidt [SCRATCH]
        movzx eax, word [SCRATCH]
        SHOW "idt limit", eax

        ; IDT limit: the error code of a vector beyond it
        mov word [SCRATCH], 0x41 * 8 - 1
        mov dword [SCRATCH + 2], idt32
        lidt [SCRATCH]
        TRY
        int 0x41
        TRIED "int beyond the idt"
        lidt [idt_pointer]
        and byte [idt32 + 0x42 * 8 + 5], 0x7f
        TRY
        int 0x42
        TRIED "int through an absent gate"
        mov byte [idt32 + 0x43 * 8 + 5], 0x80
        TRY
        int 0x43
        TRIED "int through a wrong type"
        mov word [idt32 + 0x44 * 8 + 2], DATA32
        TRY
        int 0x44
        TRIED "int through a gate to data"
        mov word [idt32 + 0x45 * 8 + 2], 0
        TRY
        int 0x45
        TRIED "int through a gate to null"
        TRY
        lock inc eax
        TRIED "lock with a register"
        TRY
        mov eax, 5
        bound eax, [bounds]
        TRIED "bound inside"
        TRY
        mov eax, 11
        bound eax, [bounds]
        TRIED "bound outside"
        TRY
        mov al, 0x7f
        add al, 1
        into
        TRIED "into with OF"
        TRY
        xor eax, eax
        into
        TRIED "into without OF"
        TRY
        xor eax, eax
        div eax
        TRIED "divide by 0"
        TRY
        aam 0
        TRIED "aam 0"
        LINE "end"
        EXIT
bounds: dd -3, 10
