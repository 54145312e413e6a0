/* Asks everything that can be asked with one vCPU on and two present, in all forms, over both conduits. */
        .include "console.inc"

        prologue
        call    version, PSCI_VERSION
        call    version_smc, PSCI_VERSION, conduit=smc
        call    smccc, SMCCC_VERSION
        call    migrate, MIGRATE_INFO_TYPE
        call    features_suspend, PSCI_FEATURES, SYSTEM_SUSPEND
        call    features_suspend32, PSCI_FEATURES, SYSTEM_SUSPEND32
        call    features_unknown, PSCI_FEATURES, 0x84000099
        call    unknown, 0x84000099
        call    unknown64, 0xc4000099
        call    garbage_id, 0xdeadbeef84000000
        call    affinity_self, AFFINITY_INFO, 0, 0
        call    affinity_other, AFFINITY_INFO, 1, 0
        call    affinity_level, AFFINITY_INFO, 0, 4
        call    affinity_garbage32, AFFINITY_INFO32, 0xdeadbeef00000000, 0
        call    on_self, CPU_ON, 0, 0x40200000
        call    on_absent, CPU_ON, 99, 0x40200000
        call    suspend_odd, SYSTEM_SUSPEND, 0x40200001
        call    suspend_odd32, SYSTEM_SUSPEND32, 0x40200001
        call    suspend_odd_smc, SYSTEM_SUSPEND, 0x40200001, conduit=smc

        /* Everything but x0 is as it was. */
        ldr     x0, =PSCI_VERSION
        ldr     x1, =0x1111111111111111
        ldr     x2, =0x2222222222222222
        ldr     x3, =0x3333333333333333
        ldr     x17, =0x1717171717171717
        ldr     x28, =0x2828282828282828
        hvc     #0
        mov     x19, x1
        mov     x21, x2
        mov     x22, x3
        mov     x23, x17
        mov     x24, x28
        show    kept1, x19
        show    kept2, x21
        show    kept3, x22
        show    kept17, x23
        show    kept28, x24

        /* hvc and smc with an immediate: on Xen an undefined instruction, on others an answer. */
        adr     x27, 1f
        adr     x21, site_hvc
        ldr     x0, =PSCI_VERSION
site_hvc:
        hvc     #1
        show    "hvc1", x0
1:      adr     x27, 2f
        adr     x21, site_smc
        ldr     x0, =PSCI_VERSION
site_smc:
        smc     #0x1234
        show    "smc1234", x0
2:      call    on_odd, CPU_ON, 1, 0x40200001     /* last: KVM takes it, and that vCPU is gone */
        say     "done\n"
        wfi
        b       .
        library
