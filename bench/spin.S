/* Counts for ever, without a call, an interrupt or a wait: for debuggers to step and to break. */
        mov     x0, #0
1:      add     x0, x0, #1
        add     x1, x0, x0
        eor     x2, x1, x0
        b       1b
