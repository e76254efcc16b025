// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Platform

extension Hardware {
    /// The name under which the table has the processor that asks.
    public static let thisCPUName = "this-cpu"

    /// Whether this is the processor that asks: one device, which shares its experts with none.
    public var isThisCPU: Bool { name == Self.thisCPUName }

    /// The processor that asks: peaks as ``MachineLimits`` measures them now, all of the machine's memory, no rent.
    ///
    /// Operands of FP8 are expanded, so their peak is that of bfloat16 pairs, or of floats where the processor has no
    /// such products. One device has no links; what would go over them is copied in memory.
    ///
    /// - Parameter threads: that compute.
    public static func thisCPU(_ limits: MachineLimits, threads: Int) -> Hardware {
        let peak = limits.pairGigaflops ?? limits.multiplyAddGigaflops
        // Attention computes with floats.
        let attention = HostPlan.attentionPart * limits.multiplyAddGigaflops / peak
        return Hardware(
            name: thisCPUName, memoryBytes: Double(Machine.totalMemory),
            memoryGigabytesPerSecond: limits.readGigabytesPerSecond, float8Teraflops: peak / 1000,
            bfloat16Teraflops: peak / 1000, multiprocessors: threads, gpusPerNode: 1,
            nvlinkGigabytesPerSecond: limits.readGigabytesPerSecond / 2,
            networkGigabytesPerSecond: limits.readGigabytesPerSecond / 2, dollarsPerHour: 0,
            attention: AttentionRates(
                decode: attention, decodeBandwidth: 1, prefill: attention, sparsePrefill: attention,
                sparseDecode: attention))
    }

    /// Devices of a unit that there may be.
    public var unitRange: ClosedRange<Int> { isThisCPU ? 1...1 : 1...4096 }
}

extension KernelRates {
    /// Parts of the roofline that products of this machine were measured to reach: of one row, which reads weights, and
    /// of many.
    public struct MeasuredProducts: Sendable, Codable, Equatable {
        public var row: Double
        public var many: Double

        /// - Parameters:
        ///   - rates: as measured on the machine.
        ///   - hardware: the machine's limits, measured beside them.
        public init(_ rates: HostPlan.Rates, on hardware: Hardware) {
            row = min(1, rates.row / hardware.memoryGigabytesPerSecond)
            many = min(1, rates.product / (hardware.float8Teraflops * 1000))
        }

        /// Rows from which a product counts as one of many.
        static let manyRows = 32.0

        /// Between the two, in the logarithm of the rows.
        func part(rows: Double) -> Double {
            let at = min(1, max(0, log2(max(1, rows)) / log2(Self.manyRows)))
            return row + (many - row) * at
        }
    }
}
