// SPDX-License-Identifier: MIT

/// What a configuration is predicted to cost for a shape: a roofline for each K block, times blocks, times waves.
public struct CUDAGemmCost: Sendable, Hashable {
    /// Units of work of the whole launch: tiles of all groups times splits.
    public let units: Int
    /// Multiprocessors that work at once.
    public let workers: Int
    /// Rounds of units, the last one counted whole.
    public var waves: Int { (units + workers - 1) / max(1, workers) }
    /// Clocks of one unit's K block: products, reads of shared memory, copies from the L2 cache.
    public let productClocks: Double
    public let sharedClocks: Double
    public let copyClocks: Double
    public let seconds: Double

    /// - Parameters:
    ///   - limit: most multiprocessors to use.
    init(
        _ configuration: CUDAGemmConfiguration, _ shape: CUDAGemmShape, on machine: CUDAGemmMachine, limit: Int
    ) {
        let c = configuration
        let (tilesM, tilesN) = c.tiles(shape)
        let tiles = tilesM * tilesN * shape.slices
        units = tiles * c.splits
        workers = max(c.cluster, min(limit, units) / c.cluster * c.cluster)

        let products = Double(c.blockRows * c.blockColumns * c.blockDepth)
        let busy = products / machine.productsPerClock(c.element)
        // One warpgroup cannot add up while the tensor core works for it; two take turns.
        let adding = c.element == .float8E4M3 ? Double(c.blockColumns) / 2 * Double(c.blockRows / 64) + 60 : 0
        productClocks = c.mathGroups == 1 ? busy + adding : max(busy, busy / 2 + adding / 2)
        let reads = Double(c.blockRows / 64) * Double(64 + c.blockColumns) * 128
        sharedClocks = reads / CUDAGemmMachine.sharedMemoryBytesPerClock
        let copied = Double(c.stageBytes)
        let saved = c.cluster == 1 ? 0 : Double(c.sharesA ? c.blockRows : c.blockColumns) * 64
        let cacheShare = machine.sharedCacheBytesPerClock / Double(workers)
        // Stages in flight cover the memory's latency under load, or they are waited for.
        let flight = machine.loadedLatencyClocks / Double(max(1, c.stages - 1))
        copyClocks = max(copied / machine.cacheBytesPerClock, (copied - saved) / cacheShare, flight)

        let blocks = (Double((shape.k + c.blockDepth - 1) / c.blockDepth) / Double(c.splits)).rounded(.up)
        let stored = Double(c.blockRows * c.blockColumns * c.output.byteCount)
        // The other warpgroup multiplies during half of a tile's output.
        let output = 300 + stored / machine.cacheBytesPerClock / Double(c.mathGroups)
        let parts = Double(c.blockRows * c.blockColumns * 4)
        let joining = c.splits > 1 ? 2 * machine.latencyClocks + parts * 2 / machine.cacheBytesPerClock : 0
        let unit = blocks * max(productClocks, sharedClocks, copyClocks) + output + joining

        let memoryBytesPerUnit = units == 0 ? 0 : shape.bytes / Double(units)
        let memoryClocksPerByte = machine.clocksPerSecond / machine.memoryBandwidth
        func wave(_ active: Int) -> Double {
            active == 0 ? 0 : max(unit, Double(active) * memoryBytesPerUnit * memoryClocksPerByte)
        }
        let (full, rest) = units.quotientAndRemainder(dividingBy: workers)
        let clocks = machine.startClocks + machine.latencyClocks + Double(full) * wave(workers) + wave(rest)
        seconds = clocks / machine.clocksPerSecond
    }
}

extension CUDAGemmConfiguration {
    /// Tiles along M and N of one matrix of A, made even along the axis on which clusters pair.
    func tiles(_ shape: CUDAGemmShape) -> (m: Int, n: Int) {
        func count(_ extent: Int, _ block: Int, _ pair: Int) -> Int {
            ((extent + block - 1) / block + pair - 1) / pair * pair
        }
        return (
            count(shape.m, blockRows, sharesA ? 1 : cluster), count(shape.n, blockColumns, sharesA ? cluster : 1)
        )
    }
}
