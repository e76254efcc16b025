// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Platform

/// How one product is cut: the numbers that the driver uses. None of them changes a bit of the result.
public struct GemmBlocking: Sendable, Hashable, Codable {
    /// Who multiplies.
    public enum Path: String, Sendable, Codable {
        /// Few rows: B's codes go from memory through registers into the sums, once.
        case direct
        /// Blocks of B are decoded to floats once for many rows of A.
        case panel
    }

    public var path: Path
    /// Elements of K that are summed in vectors before they are added up: the same for every product.
    public var chunk: Int
    /// Rows of B that are decoded at a time; 0 on the direct path.
    public var panelRows: Int
    /// Rows of A that pass over the panel together; 0 on the direct path.
    public var rowBlock: Int
    /// Rows of D and columns of D in one task.
    public var taskRows: Int
    public var taskColumns: Int
    public var rowTasks: Int
    public var columnTasks: Int
    /// Parts of K, each whole chunks, whose sums are added in the order of K at the end; 1 where K is not split.
    public var depthTasks = 1
    public var taskCount: Int { rowTasks * columnTasks * depthTasks }
}

/// What the choice of a blocking depends on.
struct GemmShape {
    var rowCount: Int
    /// Columns of D before `heads` spreads them: half of B's rows with a gate.
    var columnCount: Int
    var depth: Int
    var hasGate = false
    var orderB = MatrixOperand.Order.kMajor
    /// Rows up to which B's codes are multiplied as they lie; 0 if they cannot be.
    var directRows = linearDirectRows
    /// Whether the rows of A are packed once for all tasks.
    var sharesRows = false
    /// Multiply-adds that one task should have at least so that every thread of the team is busy to the end.
    var workPerTask = 0
    /// Threads that are to end at the same time, and columns that stay in one task.
    var threadCount = 1
    var columnUnit = 1
    /// Bytes of a row of B and a chunk, where rows are asked for ahead of being packed to floats.
    var aheadBytes = 0
    /// Chunks that K is summed in.
    var chunkCount = 1
    /// Bytes of a core's second-level cache.
    var cacheSize = GemmShape.machineCacheSize

    /// This machine's; 1 MiB where it is not known.
    static let machineCacheSize = Machine.secondLevelCacheSize ?? 1 << 20
}

/// Where a worker's scratch memory is divided.
enum GemmScratch {
    /// Floats from one packed row to the next; the excess keeps rows from falling on the same cache sets.
    static var packedStride: Int { linearChunk + 16 }
    /// The largest panel of B and block of A, for which there is room.
    static let panelRows = 128
    static let rowBlock = 48
    /// Panels of B and blocks of A to choose from. Both divide the largest.
    static let blocks: [(panelRows: Int, rowBlock: Int)] = [(128, 48), (64, 48), (64, 24), (32, 12)]
    /// Rows of A that count as few on the panel path.
    static let fewRows = 16
    /// Rows of B that are multiplied between two requests for the next block of A: whole units of any panel.
    static let outputRun = 8
    /// Columns of a task's sums on the panel path, a gate's twice.
    static let tileColumns = 512
    /// Floats from one row of sums to the next.
    static let tileStride = tileColumns + 16
    /// Rows that are packed at a time, whose scales fit the table.
    static let packRows = 128
    static var tableCount: Int {
        max(packRows * (linearChunk / 8 + 2), 2 * (sharedTaskRows + panelRows) * (linearChunk / pairBlock))
    }
    /// Two rows of sums in the epilogue, and the scales of one.
    static let lineCount = 2 * directColumns + 64
    static let directColumns = 2048
    /// Floats of A that are packed at a time on the direct path.
    static let directPackedCount = 1 << 18

    /// Rows of a task on the panel path, at most: what remains of the scratch memory, in whole blocks.
    static var taskRows: Int {
        let fixed = (panelRows + rowBlock) * packedStride + tableCount + lineCount
        let rows = (ComputeContext.scratchCount - fixed) / (packedStride + tileStride)
        return rows / rowBlock * rowBlock
    }

    /// The same where packed rows lie in memory that the workers share: few enough for the third-level cache.
    static let sharedTaskRows = 1056

    /// Rows of FP4 whose scales fit what remains, in whole units of any kernel; 0 if not even those of one do.
    static func float4Rows(blocks: Int) -> Int { min(128, directTableCount / max(1, blocks) / 8 * 8) }

    /// Floats that remain for scales on the direct path.
    static var directTableCount: Int {
        ComputeContext.scratchCount - linearScratchCount - directPackedCount - lineCount
            - linearDirectRows * directColumns
    }
}

extension GemmBlocking {
    /// Work of a task in multiply-adds below which handing it out costs more than it saves.
    static let minimumWork = 1 << 18

    /// The same on the direct path, where that much comes from memory in some microseconds.
    static let minimumDirectWork = 1 << 16

    /// The same where K is split: less would cost more in handing out and adding up than it saves.
    static let minimumSplitWork = 1 << 16

    init(_ shape: GemmShape) {
        let share = max(Self.minimumWork, shape.workPerTask)
        if shape.rowCount <= shape.directRows {
            self.init(direct: shape)
        } else {
            self.init(panel: shape, share: share)
        }
    }

    /// Tasks as small as is worth handing out: threads take runs of them (`GemmDriver.bundles`).
    private init(direct shape: GemmShape) {
        path = .direct
        chunk = linearChunk
        panelRows = 0
        rowBlock = 0
        taskRows = max(1, shape.rowCount)
        rowTasks = shape.rowCount > 0 ? 1 : 0
        let limit = shape.hasGate ? GemmScratch.directColumns / 2 : GemmScratch.directColumns
        // A weight is decoded once, and multiplied with four rows in the time that it takes to come.
        let perColumn = max(1, shape.depth * max(1, shape.rowCount / 4)) * (shape.hasGate ? 2 : 1)
        let least = min(Self.minimumWork, max(Self.minimumDirectWork, shape.workPerTask / 4))
        let wanted = min(max(least / perColumn, 1), limit)
        let unit = wanted < 128 ? shape.columnUnit : 128
        taskColumns = min(limit, (wanted + unit - 1) / unit * unit)
        columnTasks = (shape.columnCount + taskColumns - 1) / taskColumns
        splitDepth(shape, perColumn: perColumn)
    }

    /// Cuts K where threads would find no columns.
    private mutating func splitDepth(_ shape: GemmShape, perColumn: Int) {
        guard taskCount > 0, taskCount < shape.threadCount else { return }
        let work = perColumn * shape.columnCount / taskCount
        let wanted = min((2 * shape.threadCount + taskCount - 1) / taskCount, work / Self.minimumSplitWork)
        let sums = taskCount * taskColumns * (shape.hasGate ? 2 : 1) * taskRows * shape.chunkCount
        if wanted > 1, shape.chunkCount > 1, sums <= ComputeContext.sharedCount {
            depthTasks = min(wanted, shape.chunkCount)
        }
    }

    /// Makes the tasks equal, and their number one that the threads can divide.
    private mutating func evenOut(_ shape: GemmShape) {
        guard shape.threadCount > 1, taskCount > 1 else { return }
        let count = (taskCount + shape.threadCount - 1) / shape.threadCount * shape.threadCount
        let even = (shape.columnCount * rowTasks + count - 1) / count
        taskColumns = min(taskColumns, (even + shape.columnUnit - 1) / shape.columnUnit * shape.columnUnit)
        columnTasks = (shape.columnCount + taskColumns - 1) / taskColumns
    }

    private init(panel shape: GemmShape, share: Int) {
        path = .panel
        chunk = linearChunk
        let rowBytes = GemmScratch.packedStride * 4
        let room = shape.cacheSize / 4 * 3
        // Beside a panel that is multiplied, the numbers of the next one come in.
        let fitting = GemmScratch.blocks.first {
            ($0.panelRows + $0.rowBlock) * rowBytes + $0.panelRows * shape.aheadBytes <= room
        }
        // Few rows use a panel once or twice: one that stays near the core is written faster. Where rows are
        // neighbours, a narrow panel would read lines of memory for a few of their numbers.
        panelRows = shape.rowCount <= GemmScratch.fewRows && shape.orderB == .kMajor ? 16 : fitting?.panelRows ?? 32
        rowBlock = fitting?.rowBlock ?? 12
        let widest = shape.hasGate ? GemmScratch.tileColumns / 2 : GemmScratch.tileColumns
        let sides = shape.hasGate ? 2 : 1
        // As many rows as scratch holds, evenly; then as many columns as leave enough tasks.
        let mostRows = shape.sharesRows ? GemmScratch.sharedTaskRows : GemmScratch.taskRows
        rowTasks = (shape.rowCount + mostRows - 1) / mostRows
        let even = rowTasks > 0 ? (shape.rowCount + rowTasks - 1) / rowTasks : 1
        taskRows = (even + rowBlock - 1) / rowBlock * rowBlock
        rowTasks = (shape.rowCount + taskRows - 1) / taskRows
        let perColumn = max(1, min(taskRows, max(shape.rowCount, 1)) * shape.depth * sides)
        let wanted = max(1, share / perColumn)
        taskColumns = min(widest, (wanted + panelRows - 1) / panelRows * panelRows)
        taskColumns = (taskColumns + 127) / 128 * 128
        columnTasks = (shape.columnCount + taskColumns - 1) / taskColumns
        // Still too few: fewer rows, although B is then decoded more often.
        let total = Double(shape.rowCount) * Double(shape.columnCount * sides) * Double(shape.depth)
        while taskRows > rowBlock, Double(taskCount * 2) <= total / Double(share) {
            taskRows = (taskRows / 2 + rowBlock - 1) / rowBlock * rowBlock
            rowTasks = (shape.rowCount + taskRows - 1) / taskRows
        }
        evenOut(shape)
    }
}
