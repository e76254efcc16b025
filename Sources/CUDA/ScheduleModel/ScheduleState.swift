// SPDX-License-Identifier: MIT

/// Everything that changes while a schedule runs, as one row of small numbers, so that states compare and hash fast.
struct ScheduleState: Hashable {
    private var cells: [Int32]
    /// The copies that have not landed, by number, ascending.
    private(set) var flying: [Int32] = []
    private let layout: Layout

    /// Where the cells of each object start.
    struct Layout: Hashable {
        let named: Int
        let barriers: Int
        let buffers: Int
        let count: Int

        init(_ model: ScheduleModel) {
            named = model.agents.count * 2
            barriers = named + model.named.count * 2
            buffers = barriers + model.barriers.count * 3
            count = buffers + model.buffers.count * 2
        }
    }

    init(_ model: ScheduleModel) {
        layout = Layout(model)
        cells = [Int32](repeating: 0, count: layout.count)
        for agent in model.agents.indices { self[generationOf: agent] = -1 }
        for (index, barrier) in model.barriers.enumerated() { self[pending: index] = Int32(barrier.arrivals) }
        for index in model.buffers.indices { self[tag: index] = -1 }
    }

    static func == (a: Self, b: Self) -> Bool { a.cells == b.cells && a.flying == b.flying }
    func hash(into hasher: inout Hasher) {
        cells.withUnsafeBytes { hasher.combine(bytes: $0) }
        flying.withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    /// The next step of an agent.
    subscript(position agent: Int) -> Int32 {
        get { cells[agent * 2] }
        set { cells[agent * 2] = newValue }
    }
    /// The generation of the named barrier that an agent waits at; -1 when it waits at none.
    subscript(generationOf agent: Int) -> Int32 {
        get { cells[agent * 2 + 1] }
        set { cells[agent * 2 + 1] = newValue }
    }
    /// How often a named barrier has opened.
    subscript(generation named: Int) -> Int32 {
        get { cells[layout.named + named * 2] }
        set { cells[layout.named + named * 2] = newValue }
    }
    /// How many agents have come to a named barrier.
    subscript(present named: Int) -> Int32 {
        get { cells[layout.named + named * 2 + 1] }
        set { cells[layout.named + named * 2 + 1] = newValue }
    }
    /// Phases of a barrier that have ended.
    subscript(phase barrier: Int) -> Int32 {
        get { cells[layout.barriers + barrier * 3] }
        set { cells[layout.barriers + barrier * 3] = newValue }
    }
    /// Arrivals that the current phase still waits for.
    subscript(pending barrier: Int) -> Int32 {
        get { cells[layout.barriers + barrier * 3 + 1] }
        set { cells[layout.barriers + barrier * 3 + 1] = newValue }
    }
    /// Bytes announced and not yet copied (below zero when copies are ahead of the announcement).
    subscript(bytes barrier: Int) -> Int32 {
        get { cells[layout.barriers + barrier * 3 + 2] }
        set { cells[layout.barriers + barrier * 3 + 2] = newValue }
    }
    /// What a buffer holds; -1 is nothing.
    subscript(tag buffer: Int) -> Int32 {
        get { cells[layout.buffers + buffer * 2] }
        set { cells[layout.buffers + buffer * 2] = newValue }
    }
    /// Copies into a buffer that have not landed.
    subscript(landing buffer: Int) -> Int32 {
        get { cells[layout.buffers + buffer * 2 + 1] }
        set { cells[layout.buffers + buffer * 2 + 1] = newValue }
    }

    mutating func launch(_ copy: Int) {
        let place = flying.firstIndex { $0 > Int32(copy) } ?? flying.endIndex
        flying.insert(Int32(copy), at: place)
    }
    mutating func land(_ copy: Int32) { flying.removeAll { $0 == copy } }

    /// Ends the phase of a barrier when nothing is missing.
    mutating func settle(_ barrier: Int, arrivals: Int) {
        guard self[pending: barrier] == 0, self[bytes: barrier] == 0 else { return }
        self[phase: barrier] += 1
        self[pending: barrier] = Int32(arrivals)
    }
}
