// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
public import Platform

// SAFETY: In this file one address stands for memory that is never read: plans look at shapes only.

/// How `gemm` would cut a product or a group of equal products, and why: for people and programs that ask.
///
/// The blocking is made by the code that the driver itself uses.
public struct GemmPlan: Sendable, Codable {
    public var m: Int
    public var n: Int
    public var k: Int
    public var groups: Int
    public var formatA: MatrixOperand.Format
    public var formatB: MatrixOperand.Format
    public var orderB: MatrixOperand.Order
    public var threads: Int
    /// Bytes of a core's second-level cache.
    public var cacheBytes: Int
    public var blocking: GemmBlocking
    /// Tasks of all groups together.
    public var tasks: Int
    /// How many tasks a thread takes at a time, in the order in which they are handed out.
    public var runs: [Int]
    /// Where B's scales are applied.
    public var scaleSide: ScaleSide
    /// Whether pairs of bfloat16 numbers are multiplied instead of floats.
    public var pairs: Bool
    /// Bytes of a decoded panel of B, of a block of A beside it, and of a task's sums; 0 on the direct path.
    public var panelBytes: Int
    public var rowBlockBytes: Int
    public var sumBytes: Int
    /// Bytes of packed rows of A that all tasks of a matrix share; 0 where each packs or reads its own.
    public var sharedBytes: Int
    /// Bytes of memory that one pass reads and writes.
    public var operandBytes: Int
    /// Multiply-adds per byte of memory.
    public var intensity: Double
    /// One sentence per choice.
    public var reasons: [String]

    /// Where B's scales are applied.
    public enum ScaleSide: String, Sendable, Codable {
        /// B has none.
        case none
        /// They multiply the packed rows of A, once per block of rows of B; codes are multiplied as they are.
        case rows = "a"
        /// They multiply B's numbers while these are decoded.
        case weights = "b"
        /// They multiply the sums of every 128 elements of K.
        case sums
    }

    /// - Parameters:
    ///   - m: rows of each group.
    ///   - scalesB: the granularity of B's scales; nil for the usual one of the format: 128×128 for FP8, 1×32 for FP4,
    ///     none for the others.
    ///   - multipliesPairs: whether the processor multiplies bfloat16 pairs; nil for this machine.
    ///   - cacheBytes: a core's second-level cache; nil for this machine's, 1 MiB where it is not known.
    /// - Throws: `usage` for extents outside 0…2²⁰, and for no thread.
    public init(
        m: Int, n: Int, k: Int, groups: Int = 1, formatA: MatrixOperand.Format = .float32,
        formatB: MatrixOperand.Format, orderB: MatrixOperand.Order = .kMajor, scalesB: ScaleGranularity? = nil,
        gate: Bool = false, threads: Int, cacheBytes: Int? = nil, multipliesPairs: Bool? = nil
    ) throws(FathomError) {
        for (name, value) in [("m", m), ("n", n), ("k", k), ("groups", groups)]
        where value < 0 || value > 1 << 20 {
            throw FathomError(.usage, "\(name) is \(value); 0…\(1 << 20) is legal")
        }
        guard threads > 0 else { throw FathomError(.usage, "\(threads) threads; 1 or more is legal") }
        let usual: ScaleGranularity? =
            switch formatB {
            case .float8E4M3: .perBlock()
            case .float4E2M1: .perToken(32)
            case .float32, .bfloat16, .float16: nil
            }
        let granularity = scalesB ?? usual
        let problem = GemmProblem.imagined(
            m: m, n: n, k: k, formatA: formatA, formatB: formatB, orderB: orderB, scalesB: granularity)
        let multipliesPairs = multipliesPairs ?? (InstructionSetLevel.available.last?.pairKernels != nil)
        let driver = GemmDriver(
            [GemmProblem](repeating: problem, count: max(groups, 1)), epilogue: Epilogue(gate: gate),
            threadCount: threads,
            multipliesPairs: multipliesPairs, cacheSize: cacheBytes ?? GemmShape.machineCacheSize)
        self.cacheBytes = cacheBytes ?? GemmShape.machineCacheSize
        self.m = m
        self.n = n
        self.k = k
        self.groups = groups
        self.formatA = formatA
        self.formatB = formatB
        self.orderB = orderB
        self.threads = threads
        blocking = driver.blocking(of: problem)
        tasks = groups == 0 ? 0 : driver.taskCount
        runs = groups == 0 ? [] : driver.bundles(of: driver.problems.indices, threadCount: threads).map(\.count)
        pairs = driver.isPaired(problem)
        scaleSide = granularity == nil ? .none : pairs ? .sums : problem.b.isCodeOrdered ? .rows : .weights
        let isPanel = blocking.path == .panel
        panelBytes = blocking.panelRows * (pairs ? pairUnitBytes / pairUnitRows : GemmScratch.packedStride * 4)
        rowBlockBytes = blocking.rowBlock * (pairs ? pairRowBytes : GemmScratch.packedStride * 4)
        sharedBytes = driver.sharedCount(atOnce: problem) * 4
        sumBytes = isPanel ? blocking.taskRows * GemmScratch.tileStride * 4 : 0
        operandBytes = groups * ((m * k * formatA.bitCount + n * k * formatB.bitCount) / 8 + m * n * 4)
        intensity = operandBytes > 0 ? Double(groups) * Double(m) * Double(n) * Double(k) / Double(operandBytes) : 0
        reasons = []
        reasons = makeReasons(problem, granularity, multipliesPairs: multipliesPairs)
    }

    private func makeReasons(
        _ problem: GemmProblem, _ granularity: ScaleGranularity?, multipliesPairs: Bool
    ) -> [String] {
        var reasons: [String] = []
        let rows = problem.rowCount
        let directRows =
            formatB == .float4E2M1
            ? float4DirectRows : pairs ? pairDirectRows : multipliesPairs ? GemmDriver.wideDirectRows : linearDirectRows
        if pairs {
            reasons.append("pairs: both operands are bfloat16 numbers, of which the processor multiplies two a lane")
        }
        if blocking.path == .direct {
            reasons.append(
                "direct: \(rows) row(s) are at most \(directRows), so B is read once and decoded in registers; "
                    + "memory is what bounds it")
        } else if rows > directRows {
            reasons.append(
                "panel: \(rows) rows are more than \(directRows), so each panel of B is decoded once and used by "
                    + "up to \(blocking.taskRows) rows")
        } else if problem.b.order == .mnMajor {
            reasons.append("panel: B is MN-major and is transposed while it is decoded")
        } else {
            reasons.append("panel: scales of single rows of B multiply its numbers while they are decoded")
        }
        if sharedBytes > 0 {
            reasons.append("A is packed once, \(sharedBytes / 1024) KiB at a time, and all tasks read that")
        }
        if blocking.path == .panel {
            reasons.append(
                "a panel of \(blocking.panelRows) rows × \(blocking.chunk) of K and \(blocking.rowBlock) rows "
                    + "of A stay in the second-level cache of \(cacheBytes / 1024) KiB together")
        }
        reasons.append("K is summed in chunks of \(blocking.chunk), always: bits depend on K alone")
        if blocking.depthTasks > 1 {
            reasons.append(
                "K is divided into \(blocking.depthTasks) parts, since \(threads) threads would not find columns "
                    + "enough; each chunk's sums are added in its turn, as one thread does")
        }
        switch scaleSide {
        case .none: break
        case .sums:
            reasons.append("the scales of both multiply the sums of every \(pairBlock) elements of K")
        case .rows:
            reasons.append(
                "B's scales cover \(granularity?.rows ?? 1) rows, so they multiply A's packed rows once per such block")
        case .weights:
            reasons.append(
                "B's scales belong to \(granularity?.rows ?? 1) row(s), so they multiply B while it is decoded")
        }
        let isRun = blocking.path == .direct && blocking.depthTasks == 1 && threads > 1
        reasons.append(
            "\(tasks) tasks of \(blocking.taskRows) × \(blocking.taskColumns) for \(threads) thread(s)"
                + (isRun ? ", taken in runs that become shorter to the end: " : ": as large as ")
                + "leaves every thread busy to the end")
        return reasons
    }
}

extension GemmPlan: CustomStringConvertible {
    public var description: String {
        let sizes = [("panel of B", panelBytes), ("block of A", rowBlockBytes), ("sums", sumBytes)]
            .filter { $0.1 > 0 }.map { "\($0.0) \($0.1 / 1024) KiB" }
        return
            (["\(groups) × [\(m), \(n), \(k)], A \(formatA.rawValue), B \(formatB.rawValue) \(orderB.rawValue)"]
            + reasons + (sizes.isEmpty ? [] : ["scratch of a task: " + sizes.joined(separator: ", ")]))
            .joined(separator: "\n")
    }
}

extension GemmProblem {
    /// A product of that shape that is planned and never run.
    fileprivate static func imagined(
        m: Int, n: Int, k: Int, formatA: MatrixOperand.Format, formatB: MatrixOperand.Format,
        orderB: MatrixOperand.Order, scalesB: ScaleGranularity?
    ) -> GemmProblem {
        guard let nowhere = UnsafeMutableRawPointer(bitPattern: 64) else { preconditionFailure("64 is no null") }
        var b = MatrixOperand(UnsafeRawPointer(nowhere), formatB, rowCount: n, columnCount: k, order: orderB)
        b.scales = scalesB.map {
            BlockScales(
                UnsafeRawPointer(nowhere), encoding: .float32, granularity: $0, rowStride: ceilDivide(k, $0.columns),
                blockStride: 1)
        }
        return GemmProblem(
            a: OperandSlice(MatrixOperand(UnsafeRawPointer(nowhere), formatA, rowCount: m, columnCount: k)),
            b: OperandSlice(b), rowCount: m, outputs: 0..<n, depth: k,
            d: ResultSlice(MatrixResult(nowhere, .float32, stride: n)))
    }
}
