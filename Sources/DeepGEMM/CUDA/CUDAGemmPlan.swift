// SPDX-License-Identifier: MIT

/// The choice of a kernel for a shape: every legal configuration is priced, the cheapest wins, the first of equals.
/// Nothing is measured, so the same shape always gives the same kernel.
public struct CUDAGemmPlan: Sendable, Hashable {
    public let shape: CUDAGemmShape
    public let configuration: CUDAGemmConfiguration
    public let cost: CUDAGemmCost
    /// Blocks that are launched, a multiple of the cluster.
    public var gridCount: Int { cost.workers }

    /// - Parameters:
    ///   - multiprocessorLimit: most multiprocessors to use (DeepGEMM's `set_num_sms`); nil for all.
    public init(_ shape: CUDAGemmShape, on machine: CUDAGemmMachine = .h200, multiprocessorLimit: Int? = nil) {
        let limit = max(1, min(multiprocessorLimit ?? machine.multiprocessors, machine.multiprocessors))
        var best: (CUDAGemmConfiguration, CUDAGemmCost)?
        for configuration in Self.candidates(shape, limit: limit) {
            let cost = CUDAGemmCost(configuration, shape, on: machine, limit: limit)
            if cost.seconds < best?.1.seconds ?? .infinity { best = (configuration, cost) }
        }
        let chosen =
            best
            ?? {
                let plain = Self.smallest(shape)
                return (plain, CUDAGemmCost(plain, shape, on: machine, limit: limit))
            }()
        self.shape = shape
        (configuration, cost) = chosen
    }

    /// All legal configurations for a shape, small tiles and few splits first.
    static func candidates(_ shape: CUDAGemmShape, limit: Int) -> [CUDAGemmConfiguration] {
        var result: [CUDAGemmConfiguration] = []
        for rows in [64, 128, 256] where isLegal(rows: rows, shape) {
            for columns in stride(from: 16, through: 256, by: 16)
            where isLegal(rows: rows, columns: columns, shape.element) {
                for (cluster, sharesA) in [(1, true), (2, true), (2, false)] {
                    if cluster == 2, limit < 2 || (shape.grouping != .none && !sharesA) { continue }
                    guard
                        let one = configuration(
                            shape, rows: rows, columns: columns, cluster: cluster, sharesA: sharesA, limit: limit)
                    else { continue }
                    result.append(one)
                    result += splits(of: one, shape, limit: limit)
                }
            }
        }
        return result
    }

    private static func isLegal(rows: Int, _ shape: CUDAGemmShape) -> Bool {
        shape.grouping != .ids || shape.alignment % rows == 0
    }

    /// Register budgets (192 sums for a thread of a pair of warpgroups, FP8 with a second set for the current K
    /// block), and a tile touches at most two blocks of B's scales.
    static func isLegal(rows: Int, columns: Int, _ element: CUDAGemmConfiguration.Element) -> Bool {
        let waves = rows == 256 ? 2 : 1
        guard element == .float8E4M3 else { return waves * columns <= 256 }
        let beyond = columns - 128
        let straddles = beyond <= 0 || columns % beyond == 0 || 128 % beyond == 0
        return straddles && (waves + 1) * columns <= (rows == 128 ? 320 : 384)
    }

    private static func configuration(
        _ shape: CUDAGemmShape, rows: Int, columns: Int, cluster: Int, sharesA: Bool, limit: Int
    ) -> CUDAGemmConfiguration? {
        var one = smallest(shape)
        one.blockRows = rows
        one.blockColumns = columns
        one.cluster = cluster
        one.sharesA = sharesA
        one.rereadsB = shape.m > rows
        one.stages = 0
        for store in stride(from: columns, through: 16, by: -16) where columns % store == 0 {
            var trial = one
            trial.storeColumns = store
            trial.stages = 0
            let room = CUDAGemmConfiguration.sharedByteLimit - trial.sharedBytes
            trial.stages = min(maximumStages, room / (trial.stageBytes + 16))
            // Narrow stores only where they buy a stage.
            if trial.stages > one.stages { one = trial }
        }
        guard one.stages >= minimumStages else { return nil }
        raster(&one, shape, workers: limit)
        return one
    }

    /// Cuts K so that tiles which are fewer than multiprocessors become enough.
    private static func splits(
        of one: CUDAGemmConfiguration, _ shape: CUDAGemmShape, limit: Int
    ) -> [CUDAGemmConfiguration] {
        let (m, n) = one.tiles(shape)
        let blocks = (shape.k + one.blockDepth - 1) / one.blockDepth
        guard shape.grouping == .none, one.blockRows <= 128, m * n > 0, m * n < limit else { return [] }
        return (2...maximumSplits).filter { $0 * minimumBlocksOfSplit <= blocks && m * n * $0 <= limit }.map { splits in
            var split = one
            split.splits = splits
            return split
        }
    }

    /// The stripes that touch the fewest bytes at once: `width` tiles along one axis and what is left along the other.
    private static func raster(_ one: inout CUDAGemmConfiguration, _ shape: CUDAGemmShape, workers: Int) {
        var least = Int.max
        for width in [8, 16] {
            let others = (workers + width - 1) / width
            for alongRows in [true, false] {
                let rows = (alongRows ? width : others) * one.blockRows
                let columns = (alongRows ? others : width) * one.blockColumns
                let bytes = min(rows, shape.m) + min(columns, shape.n)
                if bytes < least {
                    least = bytes
                    one.rasterWidth = width
                    one.rasterAlongRows = alongRows
                }
            }
        }
    }

    private static func smallest(_ shape: CUDAGemmShape) -> CUDAGemmConfiguration {
        CUDAGemmConfiguration(
            element: shape.element, output: shape.output, grouping: shape.grouping, blockRows: 64, blockColumns: 16,
            stages: minimumStages, cluster: 1, sharesA: true, storeColumns: 16, splits: 1, rasterWidth: 8,
            rasterAlongRows: true, rereadsB: true)
    }

    /// Stages beyond this hide nothing more; fewer than `minimumStages` hide too little.
    static var maximumStages: Int { 8 }
    static var minimumStages: Int { 3 }
    static var maximumSplits: Int { 32 }
    /// K blocks that a part has at least, so that its pipeline fills.
    static var minimumBlocksOfSplit: Int { 4 }
}
