; Delivery of #NM, #MF, #XM and #UD for x87 and SSE; what control bits make of WAIT, FXSAVE and MOVAPS.
%include "common.nasm"

        bits 32
main:
        LINE "fpu"
        LONG go
        bits 64
%macro SET_CR0 1
        mov rax, cr0
        or rax, %1
        mov cr0, rax
%endmacro
%macro CLEAR_CR0 1
        mov rax, cr0
        and rax, ~(%1)
        mov cr0, rax
%endmacro
%macro SET_CR4 1
        mov rax, cr4
        or rax, %1
        mov cr4, rax
%endmacro
%macro CLEAR_CR4 1
        mov rax, cr4
        and rax, ~(%1)
        mov cr4, rax
%endmacro
go:
        fninit
        fnstcw [SCRATCH]
        fnstsw [SCRATCH + 2]
        mov eax, [SCRATCH]
        SHOW "control and status after fninit", rax
        stmxcsr [SCRATCH]
        mov eax, [SCRATCH]
        SHOW "mxcsr", rax

        ; CR0.TS and MP, EM
        SET_CR0 8
        TRY
        fld1
        TRIED "x87 with TS"
        TRY
        wait
        TRIED "wait with TS and MP"
        CLEAR_CR0 2
        TRY
        wait
        TRIED "wait with TS without MP"
        SET_CR0 2
        TRY
        addps xmm0, xmm0
        TRIED "sse with TS"
        TRY
        paddb mm0, mm0
        TRIED "mmx with TS"
        TRY
        fxsave [SCRATCH]
        TRIED "fxsave with TS"
        TRY
        ldmxcsr [SCRATCH + 0x300]
        TRIED "ldmxcsr with TS"
        TRY
        clts
        fld1
        fstp st0
        TRIED "after clts"
        SET_CR0 4
        TRY
        fld1
        TRIED "x87 with EM"
        TRY
        addps xmm0, xmm0
        TRIED "sse with EM"
        TRY
        paddb mm0, mm0
        TRIED "mmx with EM"
        TRY
        wait
        TRIED "wait with EM"
        CLEAR_CR0 4

        ; CR4.OSFXSR
        CLEAR_CR4 0x200
        TRY
        addps xmm0, xmm0
        TRIED "sse without OSFXSR"
        TRY
        paddb mm0, mm0
        emms
        TRIED "mmx without OSFXSR"
        TRY
        fxsave [SCRATCH]
        TRIED "fxsave without OSFXSR"
        SET_CR4 0x200

        ; #MF: pending, delivered by the next waiting instruction
        fninit
        mov word [SCRATCH], 0x033b      ; divide by zero unmasked
        fldcw [SCRATCH]
        fld1
        fldz
        TRY
        fdivp st1, st0
        fnstsw ax
        mov [SCRATCH + 8], ax
        nop
        fld1
        nop
        TRIED "1 / 0 unmasked"
        movzx eax, word [SCRATCH + 8]
        and eax, 0x80ff
        SHOW "status before", rax
        TRY
        fnclex
        fld1
        TRIED "after fnclex"
        fninit
        fldcw [SCRATCH]
        fld1
        fldz
        fdivp st1, st0
        TRY
        wait
        TRIED "wait with an error pending"
        TRY
        fnsave [SCRATCH + 0x100]
        TRIED "fnsave with an error pending"
        movzx eax, word [SCRATCH + 0x104]
        and eax, 0xff
        SHOW "saved status", rax
        fninit
        fldcw [SCRATCH]
        fld1
        fldz
        fdivp st1, st0
        TRY
        paddb mm0, mm1
        TRIED "mmx with an error pending"
        TRY
        addps xmm0, xmm1
        TRIED "sse with an error pending"
        fninit

        ; #XM and the bits it leaves
        mov dword [SCRATCH], 0x1d80     ; divide by zero unmasked
        ldmxcsr [SCRATCH]
        xorps xmm1, xmm1
        mov eax, 0x3f800000
        movd xmm0, eax
        TRY
        divss xmm0, xmm1
        TRIED "1.0 / 0.0 unmasked"
        movd ecx, xmm0
        SHOW "destination kept", rcx
        stmxcsr [SCRATCH]
        mov eax, [SCRATCH]
        SHOW "mxcsr", rax
        CLEAR_CR4 0x400
        TRY
        divss xmm0, xmm1
        TRIED "without OSXMMEXCPT"
        SET_CR4 0x400
        mov dword [SCRATCH], 0x1f80
        ldmxcsr [SCRATCH]
        TRY
        divss xmm0, xmm1
        TRIED "masked"
        movd ecx, xmm0
        SHOW "infinity", rcx
        stmxcsr [SCRATCH]
        mov eax, [SCRATCH]
        SHOW "mxcsr", rax
        TRY
        mov dword [SCRATCH], 0x10000
        ldmxcsr [SCRATCH]
        TRIED "mxcsr reserved bit"
        TRY
        fxsave [SCRATCH + 8]
        TRIED "fxsave not aligned"
        ; x87 stack underflow and overflow, masked
        fninit
        fstp qword [SCRATCH]
        fnstsw ax
        and eax, 0x27f
        SHOW "underflow status", rax
        SHOW "indefinite", [SCRATCH]
        fninit
        mov ecx, 9
.push:  fld1
        dec ecx
        jnz .push
        fnstsw ax
        movzx eax, ax
        SHOW "overflow status", rax
        ; FXSAVE and FXRSTOR round trip
        fninit
        fldpi
        fld1
        mov rax, 0x1122334455667788
        movq xmm7, rax
        fxsave [SCRATCH + 0x400]
        fninit
        xorps xmm7, xmm7
        fxrstor [SCRATCH + 0x400]
        movq rax, xmm7
        SHOW "xmm7", rax
        movzx eax, word [SCRATCH + 0x402]
        SHOW "status word", rax
        movzx eax, byte [SCRATCH + 0x404]
        SHOW "abridged tags", rax
        fstp qword [SCRATCH]
        SHOW "st0", [SCRATCH]
        fstp qword [SCRATCH]
        SHOW "st1", [SCRATCH]
        LINE "end"
        EXIT
