; Other processors, from INIT to 64-bit mode. A guest that includes this file has a label `other`, where each of them begins with the page
; tables, the GDT and the flat segments of the first, and without a stack or an IDT. In 64-bit code WAKE_OTHERS starts them all.

TRAMPOLINE      equ 0x8000

%macro WAKE_OTHERS 0                            ; changes RCX, RSI and RDI
        mov esi, trampoline
        mov edi, TRAMPOLINE
        mov ecx, trampoline_end - trampoline
        rep movsb
        mov dword [abs LOCAL_APIC + 0xf0], 0x1ff
        mov dword [abs LOCAL_APIC + 0x300], 0xc4500     ; INIT to all but self
        mov ecx, 1000000
%%init: dec ecx
        jnz %%init
        mov dword [abs LOCAL_APIC + 0x300], 0xc4600 | (TRAMPOLINE >> 12)
%endmacro

        bits 16
trampoline:
        cli
        lgdt [cs:.pointer - trampoline]
        mov eax, cr4
        or eax, 0x620                           ; PAE OSFXSR OSXMMEXCPT
        mov cr4, eax
        mov eax, PML4
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x901                           ; SCE LME NXE
        wrmsr
        mov eax, cr0
        and eax, ~0xe
        or eax, 0x80010023                      ; PG WP NE MP PE
        mov cr0, eax
        jmp dword CODE64:.long
.pointer:
        dw gdt_end - gdt - 1
        dd gdt
        bits 64
.long:  mov eax, DATA32
        mov ds, eax
        mov es, eax
        mov ss, eax
        jmp other
trampoline_end:
        bits 32
