; Segment limits and types at the access itself, in 32-bit protected mode. QEMU's TCG does not check them, so the expectation comes
; from the SDM (volume 3, 5.3 and 5.5).
%include "common.nasm"

        bits 32
; DESCRIPTOR slot, base, limit, access byte, flags nibble
%macro DESCRIPTOR 5
        mov dword [gdt + FREE_SEL + (%1) * 8], (((%2) & 0xffff) << 16) | ((%3) & 0xffff)
        mov dword [gdt + FREE_SEL + (%1) * 8 + 4], ((%2) & 0xff000000) | ((%5) << 20) | ((%3) & 0xf0000) | ((%4) << 8) | (((%2) >> 16) & 0xff)
%endmacro
%define SEL(n) (FREE_SEL + (n) * 8)

main:
        LINE "limits"
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

        ; Limits
%macro TOUCH 3                          ; name, selector, operand
        mov eax, %2
        mov es, eax
        TRY
        mov eax, %3
        TRIED %1
%endmacro
        TOUCH "last dword", SEL(0), [es:0xfc]
        TOUCH "one past the limit", SEL(0), [es:0xfd]
        TOUCH "far past the limit", SEL(0), [es:0x100]
        TOUCH "end of the address space", SEL(0), [es:0xfffffffe]
        TOUCH "page limit", SEL(6), [es:0xffc]
        TOUCH "past the page limit", SEL(6), [es:0xffd]
        TOUCH "expand-down below", SEL(2), [es:0xfc]
        TOUCH "expand-down at the limit", SEL(2), [es:0xff]
        TOUCH "expand-down above", SEL(2), [es:0x100]
        TOUCH "expand-down 16 in range", SEL(7), [es:0xfff0]
        TOUCH "expand-down 16 above 64K", SEL(7), [es:0xfffe]
        TOUCH "null", 0, [es:0]
        mov eax, SEL(1)
        mov es, eax
        TRY
        mov [es:0], eax
        TRIED "write to read-only"
        mov eax, CODE32
        mov es, eax
        TRY
        mov [es:SCRATCH], eax
        TRIED "write to code"
        TRY
        mov [cs:SCRATCH], eax
        TRIED "write through cs"
        mov eax, SEL(4)
        jmp SEL(4):execute_only
execute_only:
        TRY
        mov eax, [cs:SCRATCH]
        TRIED "read of execute-only code"
        TRY
        clflush [cs:SCRATCH]            ; a load, but for this
        TRIED "clflush in execute-only code"
        jmp CODE32:back
back:
        ; Stack faults; the frame itself fits below the stack pointer
        mov edi, esp
        mov eax, SEL(0)
        TRY
        mov ss, eax
        mov esp, 0xfd
        pop eax
        TRIED "pop across the limit"
        TRY
        mov eax, SEL(0)
        mov ss, eax
        mov esp, 0x80
        mov ebp, 0x200
        mov eax, [ebp]
        TRIED "ebp beyond ss"
        TRY
        mov eax, SEL(0)
        mov ss, eax
        mov esp, 0x80
        mov eax, [esp + 0x7d]
        TRIED "esp beyond ss"
        mov esp, edi
        TRY
        xor eax, eax
        ltr ax
        TRIED "ltr null"
        TRY
        mov eax, SEL(0)
        mov ds, eax
        clflush [0x100]
        mov eax, DATA32
        mov ds, eax
        TRIED "clflush past the limit"
        LINE "end"
        EXIT
