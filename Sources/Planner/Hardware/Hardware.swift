// SPDX-License-Identifier: MIT

public import Platform

/// One accelerator with its links: peaks from data sheets, and what its attention kernels were measured to reach.
public struct Hardware: Sendable, Codable, Equatable {
    public var name: String
    /// Bytes of memory.
    public var memoryBytes: Double
    /// 10⁹ bytes per second of memory, at the peak.
    public var memoryGigabytesPerSecond: Double
    /// 10¹² operations per second with FP8 and with bfloat16 operands, dense, at the peak.
    public var float8Teraflops: Double
    public var bfloat16Teraflops: Double
    /// Streaming multiprocessors.
    public var multiprocessors: Int
    /// GPUs that NVLink connects to each other.
    public var gpusPerNode: Int
    /// 10⁹ bytes per second of a GPU's NVLink, one way, as kernels reach it.
    public var nvlinkGigabytesPerSecond: Double
    /// 10⁹ bytes per second of a GPU's network card, one way, at the line rate.
    public var networkGigabytesPerSecond: Double
    /// Rent of one GPU, dollars per hour.
    public var dollarsPerHour: Double
    /// What attention kernels reach of the bfloat16 peak.
    public var attention: AttentionRates

    public init(
        name: String, memoryBytes: Double, memoryGigabytesPerSecond: Double, float8Teraflops: Double,
        bfloat16Teraflops: Double, multiprocessors: Int, gpusPerNode: Int, nvlinkGigabytesPerSecond: Double,
        networkGigabytesPerSecond: Double, dollarsPerHour: Double, attention: AttentionRates = .hopper
    ) {
        self.name = name
        self.memoryBytes = memoryBytes
        self.memoryGigabytesPerSecond = memoryGigabytesPerSecond
        self.float8Teraflops = float8Teraflops
        self.bfloat16Teraflops = bfloat16Teraflops
        self.multiprocessors = multiprocessors
        self.gpusPerNode = gpusPerNode
        self.nvlinkGigabytesPerSecond = nvlinkGigabytesPerSecond
        self.networkGigabytesPerSecond = networkGigabytesPerSecond
        self.dollarsPerHour = dollarsPerHour
        self.attention = attention
    }
}

/// What attention kernels reach, as parts of the bfloat16 peak or of the memory's bandwidth.
public struct AttentionRates: Sendable, Codable, Equatable {
    /// Dense decode where arithmetic binds.
    public var decode: Double
    /// Dense decode where reading the cache binds, of the bandwidth.
    public var decodeBandwidth: Double
    /// Causal multi-head attention of prompts.
    public var prefill: Double
    /// Sparse attention of V3.2, prefill, and decode over FP8 rows.
    public var sparsePrefill: Double
    public var sparseDecode: Double

    public init(
        decode: Double, decodeBandwidth: Double, prefill: Double, sparsePrefill: Double, sparseDecode: Double
    ) {
        self.decode = decode
        self.decodeBandwidth = decodeBandwidth
        self.prefill = prefill
        self.sparsePrefill = sparsePrefill
        self.sparseDecode = sparseDecode
    }

    /// H800, of 989.5 TFLOPS and 3,350 GB/s. Decode: FlashMLA's README of April 2025, 660 TFLOPS and 3,000 GB/s.
    /// Prefill: the published training trace, 4,096 tokens causal in 1,237 µs on 112 of 132 multiprocessors, 654
    /// TFLOPS on all. Sparse: FlashMLA's README of September 2025, 640 and 410 TFLOPS.
    public static let hopper = AttentionRates(
        decode: 660 / 989.5, decodeBandwidth: 3000.0 / 3350, prefill: 654 / 989.5, sparsePrefill: 640 / 989.5,
        sparseDecode: 410 / 989.5)

    /// The same before April 2025: 580 TFLOPS of dense decode (FlashMLA's first README).
    public static let february2025 = AttentionRates(
        decode: 580 / 989.5, decodeBandwidth: 3000.0 / 3350, prefill: 654 / 989.5, sparsePrefill: 640 / 989.5,
        sparseDecode: 410 / 989.5)

    /// B200, of 2,250 TFLOPS. Prefill 1,460, sparse 1,450 and 350 TFLOPS (FlashMLA's README of 2025); dense decode
    /// was not published and is taken to reach Hopper's part.
    public static let blackwell = AttentionRates(
        decode: 660 / 989.5, decodeBandwidth: 3000.0 / 3350, prefill: 1460.0 / 2250, sparsePrefill: 1450.0 / 2250,
        sparseDecode: 350.0 / 2250)
}

extension Hardware {
    /// H800 SXM. NVIDIA's data sheet of the H100 with NVLink cut to 400 GB/s both ways; memory as the published trace
    /// names it; 160 GB/s usable NVLink and 50 GB/s InfiniBand from the V3 report; rent of $2 from the published day.
    public static let h800 = Hardware(
        name: "h800", memoryBytes: 84_943_110_144, memoryGigabytesPerSecond: 3350, float8Teraflops: 1979,
        bfloat16Teraflops: 989.5, multiprocessors: 132, gpusPerNode: 8, nvlinkGigabytesPerSecond: 160,
        networkGigabytesPerSecond: 50, dollarsPerHour: 2)

    /// H100 SXM. NVIDIA's data sheet: NVLink 900 GB/s both ways, of which 80 % are taken as usable, as on the H800; 400
    /// Gb/s InfiniBand; the rent is an assumption.
    public static let h100 = Hardware(
        name: "h100", memoryBytes: 80 * 1.0737e9, memoryGigabytesPerSecond: 3350, float8Teraflops: 1979,
        bfloat16Teraflops: 989.5, multiprocessors: 132, gpusPerNode: 8, nvlinkGigabytesPerSecond: 360,
        networkGigabytesPerSecond: 50, dollarsPerHour: 2)

    /// H200 SXM. NVIDIA's data sheet: 141 GB at 4.8 TB/s, otherwise an H100; the rent is an assumption.
    public static let h200 = Hardware(
        name: "h200", memoryBytes: 141e9, memoryGigabytesPerSecond: 4800, float8Teraflops: 1979,
        bfloat16Teraflops: 989.5, multiprocessors: 132, gpusPerNode: 8, nvlinkGigabytesPerSecond: 360,
        networkGigabytesPerSecond: 50, dollarsPerHour: 2.5)

    /// B200 SXM. NVIDIA's data sheet: 180 GB at 8 TB/s, 4.5 PFLOPS of FP8 dense; NVLink 1,800 GB/s both ways, DeepEP's
    /// README reaches 726 GB/s one way; the rent is an assumption.
    public static let b200 = Hardware(
        name: "b200", memoryBytes: 180e9, memoryGigabytesPerSecond: 8000, float8Teraflops: 4500,
        bfloat16Teraflops: 2250, multiprocessors: 148, gpusPerNode: 8, nvlinkGigabytesPerSecond: 726,
        networkGigabytesPerSecond: 50, dollarsPerHour: 4, attention: .blackwell)

    /// The accelerators of the table.
    public static let known: [Hardware] = [.h800, .h100, .h200, .b200]

    /// Names that are legal, the processor that asks among them.
    public static var names: [String] { known.map(\.name) + [thisCPUName] }

    /// An accelerator of the table; ``thisCPU(_:threads:)`` is measured.
    ///
    /// - Throws: `usage` for another name.
    public static func named(_ name: String) throws(FathomError) -> Hardware {
        if let found = known.first(where: { $0.name == name.lowercased() }) { return found }
        throw FathomError(
            .usage, "the hardware '\(name)' is not known; legal are \(names.joined(separator: ", "))")
    }
}
