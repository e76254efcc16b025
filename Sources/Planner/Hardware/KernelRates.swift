// SPDX-License-Identifier: MIT

/// How much of a machine's roofline kernels reach, from the tables that their authors published for an H800; on other
/// hardware the same parts are taken. What no table has is a default that ``defaults`` names.
public struct KernelRates: Sendable, Codable, Equatable {
    /// Which of the published tables.
    public enum Generation: String, Sendable, Codable, CaseIterable {
        /// As first released, in the week of the published traces and day.
        case february2025 = "2025-02"
        /// Two months later.
        case april2025 = "2025-04"
    }

    public var generation: Generation
    /// Part of the memory bandwidth that passes over tokens (norms, casts, gathers) reach.
    public var passBandwidth: Double
    /// Seconds that the smallest kernel of a graph takes.
    public var smallestKernel: Double
    /// Part of the roofline of batched bfloat16 products (absorbed projections, the head).
    public var batchedProduct: Double
    /// Measured products instead of the published tables'.
    public var measured: MeasuredProducts?

    public init(
        generation: Generation = .april2025, passBandwidth: Double = 0.75, smallestKernel: Double = 4e-6,
        batchedProduct: Double = 0.65
    ) {
        self.generation = generation
        self.passBandwidth = passBandwidth
        self.smallestKernel = smallestKernel
        self.batchedProduct = batchedProduct
    }

    /// Where the parts of products come from, for people.
    public var source: String {
        measured.map { "products measured on this machine, \(percent($0.row)) to \(percent($0.many)) of the roofline" }
            ?? "published kernel tables"
    }

    /// The defaults in use, for people.
    public var defaults: String {
        "defaults, not measured: passes over tokens at \(percent(passBandwidth)) of the bandwidth, "
            + "smallest kernel \(Int(smallestKernel * 1e6)) µs, batched bfloat16 products at "
            + "\(percent(batchedProduct)) of the roofline"
    }

    private func percent(_ fraction: Double) -> String { "\(Int((fraction * 100).rounded())) %" }

    /// One line of a published table: `groups` products of m × n × k in FP8 with block scales.
    struct Row {
        var groups: Int
        var m: Int
        var n: Int
        var k: Int
        var teraflops: Double
        /// Two months later, where it changed.
        var later: Double?

        init(_ groups: Int, _ m: Int, _ n: Int, _ k: Int, _ teraflops: Double, later: Double? = nil) {
            (self.groups, self.m, self.n, self.k) = (groups, m, n, k)
            (self.teraflops, self.later) = (teraflops, later)
        }
    }

    /// Part of the FP8 roofline of one product, or of each of several groups. Between the table's row counts it is
    /// interpolated in their logarithm; other shapes take the nearest of the table.
    func productEfficiency(groups: Int, rows: Double, outputs: Int, inputs: Int) -> Double {
        if let measured { return measured.part(rows: rows) }
        let isGrouped = groups > 1
        let all = Self.rows.filter { $0.groups == 0 || isGrouped }
        func distance(_ row: Row) -> Double {
            ratio(row.n, outputs).magnitude + ratio(row.k, inputs).magnitude
        }
        guard let nearest = all.map(distance).min() else { return batchedProduct }
        let candidates = all.filter { distance($0) == nearest }.sorted { $0.m < $1.m }
        // Where a grouped line and a plain one have the same rows, the grouped one counts.
        let line = candidates.reduce(into: [Row]()) { list, row in
            if let last = list.last, last.m == row.m {
                if row.groups > last.groups { list[list.count - 1] = row }
            } else {
                list.append(row)
            }
        }
        let at = log2(max(1, rows))
        let points = line.map { (x: log2(Double($0.m)), y: efficiency($0)) }
        guard let first = points.first, let last = points.last else { return batchedProduct }
        if at <= first.x { return first.y }
        if at >= last.x { return last.y }
        for (low, high) in zip(points, points.dropFirst()) where at <= high.x {
            return low.y + (high.y - low.y) * (at - low.x) / (high.x - low.x)
        }
        return last.y
    }

    /// The roofline's time over the measured one.
    private func efficiency(_ row: Row) -> Double {
        let groups = Double(max(1, row.groups))
        let (m, n, k) = (Double(row.m), Double(row.n), Double(row.k))
        let operations = groups * 2 * m * n * k
        let bytes = groups * (m * k + n * k + 2 * m * n)
        let teraflops = generation == .april2025 ? row.later ?? row.teraflops : row.teraflops
        let roof = max(
            operations / (Hardware.h800.float8Teraflops * 1e12), bytes / (Hardware.h800.memoryGigabytesPerSecond * 1e9))
        return roof / (operations / (teraflops * 1e12))
    }

    private func ratio(_ a: Int, _ b: Int) -> Double { log2(Double(a) / Double(max(1, b))) }

    /// DeepGEMM's README: H800 SXM5, NVCC 12.8; 26 February 2025, and 9 April 2025 where it changed. Groups 0 is a
    /// plain product; m is per group.
    static let rows: [Row] = [
        Row(0, 64, 2112, 7168, 206), Row(0, 64, 24576, 1536, 289), Row(0, 64, 32768, 512, 219),
        Row(0, 64, 7168, 16384, 336), Row(0, 64, 4096, 7168, 287), Row(0, 64, 7168, 2048, 295),
        Row(0, 128, 2112, 7168, 352), Row(0, 128, 24576, 1536, 535), Row(0, 128, 32768, 512, 358),
        Row(0, 128, 7168, 16384, 645), Row(0, 128, 4096, 7168, 533), Row(0, 128, 7168, 2048, 510),
        Row(0, 4096, 2112, 7168, 1058, later: 1127), Row(0, 4096, 24576, 1536, 990, later: 1212),
        Row(0, 4096, 32768, 512, 590, later: 775), Row(0, 4096, 7168, 16384, 1358, later: 1520),
        Row(0, 4096, 4096, 7168, 1304, later: 1410), Row(0, 4096, 7168, 2048, 1025, later: 1168),
        Row(4, 8192, 4096, 7168, 1297, later: 1346), Row(4, 8192, 7168, 2048, 1099, later: 1214),
        Row(8, 4096, 4096, 7168, 1288, later: 1346), Row(8, 4096, 7168, 2048, 1093, later: 1214),
        Row(1, 1024, 4096, 7168, 1233), Row(1, 1024, 7168, 2048, 925),
        Row(2, 512, 4096, 7168, 1040), Row(2, 512, 7168, 2048, 916),
        Row(4, 256, 4096, 7168, 932), Row(4, 256, 7168, 2048, 815),
    ]
}
