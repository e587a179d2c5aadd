; A triple fault shuts the processor down; the machine ends.
%include "common.nasm"

        bits 32
main:
        LINE "triplefault"
        LONG go
        bits 64
go:
        and byte [idt64 + 13 * 16 + 5], 0x7f
        and byte [idt64 + 8 * 16 + 5], 0x7f
        LINE "now"
        mov eax, 0x7f8
        mov ds, eax
        LINE "still here"
        EXIT
