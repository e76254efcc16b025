// SPDX-License-Identifier: MIT

/// Headers for device code that the kernels of all libraries share (`Device/`).
package enum DeviceHeaders {
    /// `hopper.cuh`: barriers, bulk copies and the order of matrix instructions of compute capability 9.0.
    package static var hopper: KernelSource.Header {
        KernelSource.Header(
            name: "hopper.cuh", text: String(decoding: PackageResources.hopper_cuh, as: UTF8.self))
    }

    /// `layout.cuh`, which `hopper.cuh` includes: where things lie, in plain constexpr functions.
    package static var layout: KernelSource.Header {
        KernelSource.Header(
            name: "layout.cuh", text: String(decoding: PackageResources.layout_cuh, as: UTF8.self))
    }

    /// What a kernel passes to the compiler beside its own text.
    package static var all: [KernelSource.Header] { [layout, hopper] }
}
