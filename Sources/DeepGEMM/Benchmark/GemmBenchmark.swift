// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Tensors

/// Times `gemm` at one shape, on random operands of which no cache holds B from one run to the next.
public struct GemmBenchmark: Sendable, Codable {
    /// How the rows are grouped.
    public enum Layout: String, Sendable, CaseIterable, Codable {
        case dense
        /// M-grouped contiguous, group g with about 1/(g+1) of the rows of group 0.
        case contiguous
        /// M-grouped masked with the same counts.
        case masked
    }

    public var layout: Layout
    /// Rows, of all groups together.
    public var m: Int
    public var n: Int
    public var k: Int
    public var groups: Int
    public var formatA: MatrixOperand.Format
    public var formatB: MatrixOperand.Format
    /// How A and B lie.
    public var orderA: MatrixOperand.Order
    public var orderB: MatrixOperand.Order
    /// Whether bfloat16 pairs were multiplied, which have a peak of their own.
    public var multipliesPairs: Bool
    /// Median time of one call.
    public var seconds: Double
    /// Two operations for each multiply-add.
    public var gigaflops: Double
    /// Bytes of B with its scales per second.
    public var gigabytesPerSecond: Double
    /// What the machine read per second between the runs, median, where it was asked.
    public var readGigabytesPerSecond: Double?

    /// - Parameters:
    ///   - minimumSeconds: how long to repeat; at least three runs, fewer where they take two seconds.
    ///   - bandwidth: sampled in turn with the runs.
    /// - Throws: `usage` for extents below 1; `unavailable` without memory.
    public static func measure(
        _ layout: Layout = .dense, m: Int, n: Int, k: Int, groups: Int = 1, formatA: MatrixOperand.Format,
        formatB: MatrixOperand.Format, orderA: MatrixOperand.Order = .kMajor,
        orderB: MatrixOperand.Order = .kMajor, minimumSeconds: Double, bandwidth: ReadBandwidth? = nil,
        on context: ComputeContext
    ) throws(FathomError) -> GemmBenchmark {
        for (name, value) in [("m", m), ("n", n), ("k", k), ("groups", groups)] where value < 1 || value > 1 << 30 {
            throw FathomError(.usage, "\(name) is \(value); 1…\(1 << 30) is legal")
        }
        let counts = skewedCounts(total: m, groups: layout == .dense ? 1 : groups)
        let room = layout == .masked ? Int(counts.max() ?? 0) : m
        let a = try BenchmarkOperand(
            formatA, orderA, rows: room, columns: k, groups: layout == .masked ? groups : 1, isB: false, copies: 1)
        let one = n * k * formatB.bitCount / 8 * counts.count
        // Several copies, used in turn, so that small weights come from memory too.
        let copies = max(1, (1 << 28) / max(one, 1))
        let b = try BenchmarkOperand(
            formatB, orderB, rows: n, columns: k, groups: counts.count, isB: true, copies: copies)
        let out = try AlignedBuffer<Float>(
            count: (layout == .masked ? groups * room : m) * n, purpose: "benchmark results")
        let ids = counts.enumerated().flatMap { [Int32](repeating: Int32($0.offset), count: Int($0.element)) }
        // SAFETY: `out` has room for every row, and outlives the calls.
        let d = MatrixResult(out.baseAddress, stride: n, groupStride: room * n)
        let (times, reads) = try medians(minimumSeconds, bandwidth) { (turn) throws(FathomError) in
            let right = b.operand(copy: turn % copies)
            switch layout {
            case .dense: try gemm(a.operand(copy: 0), right, into: d, on: context)
            case .contiguous:
                try withPointer(to: ids) { (ids) throws(FathomError) in
                    try gemm(a.operand(copy: 0), right, groups: .ids(ids), into: d, on: context)
                }
            case .masked:
                try withPointer(to: counts) { (counts) throws(FathomError) in
                    try gemm(a.operand(copy: 0), right, groups: .masked(counts), into: d, on: context)
                }
            }
        }
        return GemmBenchmark(
            layout: layout, m: m, n: n, k: k, groups: counts.count, formatA: formatA, formatB: formatB,
            orderA: orderA, orderB: orderB,
            multipliesPairs: context.pairKernels != nil && formatA == formatB
                && [.bfloat16, .float8E4M3].contains(formatA),
            seconds: times,
            gigaflops: 2 * Double(m) * Double(n) * Double(k) / times / 1e9,
            gigabytesPerSecond: Double(b.byteCount) / times / 1e9, readGigabytesPerSecond: reads)
    }

    /// The median of as many runs as take `minimumSeconds`, and that of the read bandwidth between them.
    private static func medians(
        _ minimumSeconds: Double, _ bandwidth: ReadBandwidth?, _ run: (Int) throws(FathomError) -> Void
    ) throws(FathomError) -> (seconds: Double, read: Double?) {
        var times: [Double] = []
        var reads: [Double] = []
        var total = 0.0
        var lastSample = -Double.infinity
        let clock = ContinuousClock()
        while total < minimumSeconds || (times.count < 3 && total < 2) {
            // A sample takes about as long as the runs between two of them.
            if let bandwidth, total >= lastSample + 0.02 {
                reads.append(bandwidth.sample())
                lastSample = total
            }
            let start = clock.now
            try run(times.count)
            let seconds = start.duration(to: clock.now) / .seconds(1)
            times.append(seconds)
            total += seconds
        }
        return (times.sorted()[times.count / 2], reads.isEmpty ? nil : reads.sorted()[reads.count / 2])
    }

    private static func withPointer(
        to values: [Int32], _ body: (UnsafePointer<Int32>) throws(FathomError) -> Void
    ) throws(FathomError) {
        let buffer = try AlignedBuffer<Int32>(count: values.count, purpose: "benchmark groups")
        // SAFETY: written inside its bounds, and alive through the call.
        for (index, value) in values.enumerated() { buffer.baseAddress[index] = value }
        try body(UnsafePointer(buffer.baseAddress))
    }

    /// Rows of each group: as 1, ½, ⅓, … and all of them together.
    static func skewedCounts(total: Int, groups: Int) -> [Int32] {
        let sum = (0..<groups).reduce(0.0) { $0 + 1 / Double($1 + 1) }
        var counts = (0..<groups).map { Int32(Double(total) / sum / Double($0 + 1)) }
        counts[0] += Int32(total) - counts.reduce(0, +)
        return counts
    }
}
