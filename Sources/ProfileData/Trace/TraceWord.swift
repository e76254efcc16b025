// SPDX-License-Identifier: MIT

/// The words of the trace format that a reader looks for; their places in a `NameTable` are their raw values.
enum TraceWord: Int32, CaseIterable {
    case empty
    case overflow
    // Members of an event.
    case name, category, phase, start, duration, process, thread, identifier, arguments
    // Members of the document.
    case events, deviceProperties, distributedInfo, traceName
    // Arguments.
    case correlation, externalID, stream, device, grid, block, registers, sharedMemory, bytes, labels, sortIndex
    case occupancy, rank, worldSize, multiprocessors
    // Categories.
    case kernel, kernelCapital, memoryCopy, memorySet, runtime, driver, annotation, fathom
    // Metadata events.
    case processName, threadName, processLabels, processSortIndex, threadSortIndex

    var id: NameID { NameID(index: rawValue) }

    var text: String {
        switch self {
        case .empty: ""
        case .overflow: "(further names)"
        case .category: "cat"
        case .phase: "ph"
        case .start: "ts"
        case .duration: "dur"
        case .process: "pid"
        case .thread: "tid"
        case .identifier: "id"
        case .arguments: "args"
        case .events: "traceEvents"
        case .externalID: "External id"
        case .registers: "registers per thread"
        case .sharedMemory: "shared memory"
        case .sortIndex: "sort_index"
        case .occupancy: "est. achieved occupancy %"
        case .worldSize: "world_size"
        case .multiprocessors: "numSms"
        case .kernelCapital: "Kernel"
        case .memoryCopy: "gpu_memcpy"
        case .memorySet: "gpu_memset"
        case .runtime: "cuda_runtime"
        case .driver: "cuda_driver"
        case .annotation: "user_annotation"
        case .processName: "process_name"
        case .threadName: "thread_name"
        case .processLabels: "process_labels"
        case .processSortIndex: "process_sort_index"
        case .threadSortIndex: "thread_sort_index"
        default: "\(self)"
        }
    }
}
