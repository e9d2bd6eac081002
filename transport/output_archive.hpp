// SPDX-License-Identifier: MIT
#pragma once

#include <cereal/cereal.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <troupe/transport/codec_traits.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

/// What a frame may make its reader do. A value beyond these limits is refused when it is encoded, too.
struct CodecLimits {
  static constexpr std::size_t depth_max = 64;  ///< structs and classes inside each other
  static constexpr std::size_t elements_max = std::size_t{1}
                                              << 20;  ///< of one container, unless it is copied as one block

  /// For the elements of all containers of a frame together, each with its sizeof.
  static constexpr std::size_t memory_bytes_max(std::size_t frame_bytes) {
    return 16 * frame_bytes + (std::size_t{1} << 20);
  }
};

template <class T>
constexpr void require_serializable();

namespace detail {

/// What one value has put into its store. Dropped again unless all of the value was encoded.
struct Deposits {
  explicit Deposits(DescriptorStore* where) noexcept : store{where} {}
  Deposits(const Deposits&) = delete;
  Deposits& operator=(const Deposits&) = delete;
  ~Deposits();

  DescriptorStore* store;  ///< null: there is none, and the first deposit was refused
  std::vector<std::uint64_t> names{};
  Result<void> outcome{};
};

/// Writes into a span and never beyond it; goes on counting when the room has ended, so that the error can
/// say how much was needed. Does not throw, and allocates only for values that hold descriptors. One use
/// only; one thread.
///
/// The base class is empty. It is there because cereal's functions for standard types are found through it.
class OutputArchive : cereal::access {
 public:
  using is_loading = std::false_type;
  using is_saving = std::true_type;

  /// `store` outlives this object. Without one, a value that holds descriptors is refused.
  explicit OutputArchive(std::span<std::byte> out, DescriptorStore* store = nullptr) noexcept
      : out_{out}, store_{store} {}
  OutputArchive(const OutputArchive&) = delete;
  OutputArchive& operator=(const OutputArchive&) = delete;

  template <class... Ts>
  OutputArchive& operator()(const Ts&... values) {
    (put(values), ...);
    return *this;
  }
  template <class T>
  OutputArchive& operator&(const T& value) {
    return (*this)(value);
  }
  template <class T>
  OutputArchive& operator<<(const T& value) {
    return (*this)(value);
  }

  /// For the `save` of a type that holds descriptors: hands over a copy of `fd`, which `withdraw` in its
  /// `load` gets. Writes a name of 8 bytes. What goes wrong is the error of `encode`.
  void deposit(int fd) { put(put_into_store(fd)); }

  /// For a `save` whose value cannot be handed over: `why` becomes the error of `encode`.
  void refuse(Error why);

  /// Whether what is deposited can travel; not so while only the size is asked for.
  [[nodiscard]] bool carries() const noexcept { return store_ != nullptr; }
  /// As DescriptorStore::once_known.
  bool once_known(const DescriptorStore::OnceKnown& act) {
    return store_ != nullptr && store_->once_known(act);
  }

  /// `refused` without a store, or what the store said.
  [[nodiscard]] Result<void> deposited() const { return deposits_ ? deposits_->outcome : Result<void>{}; }
  /// The value is encoded: what it has deposited stays.
  void keep_deposits() noexcept {
    if (deposits_) deposits_->names.clear();
  }

  /// Of all that was written, whether or not there was room for it.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool overflowed() const noexcept { return bytes_ > out_.size(); }

  /// Why a reader would not take this value; null if it would.
  [[nodiscard]] const char* fault() const noexcept {
    if (fault_ == nullptr && memory_bytes_ > CodecLimits::memory_bytes_max(bytes_))
      return "its containers take too much memory for so few bytes";
    return fault_;
  }

 private:
  template <class T>
  void put(const T& value);
  template <class T>
  void put(const cereal::NameValuePair<T>& pair) {
    put(pair.value);
  }
  template <class K, class V>
  void put(const cereal::MapItem<K, V>& item) {
    put(item.key);
    put(item.value);
  }
  template <class T>
  void put(const cereal::base_class<T>& base) {
    put(*base.base_ptr);
  }
  template <class T>
  void put(const cereal::BinaryData<T>& data) {
    write(data.data, data.size);
  }
  template <class T>
  void put(const cereal::SizeTag<T>& tag) {
    put_size(tag.size);
  }
  template <class T>
  void put_class(const T& value);
  template <Way way, class T>
  void put_class_versioned(const T& value);

  [[nodiscard]] std::uint64_t put_into_store(int fd);

  void put_size(std::size_t elements) {
    if (elements > CodecLimits::elements_max) fault_ = "a container has too many elements";
    memory_bytes_ += elements * next_.memory_bytes;
    next_ = {};
    put(std::uint64_t{elements});
  }

  void write(const void* data, std::size_t size) {
    const std::size_t at = bytes_;
    bytes_ += size;
    if (size != 0 && at <= out_.size() && size <= out_.size() - at) std::memcpy(out_.data() + at, data, size);
  }

  std::span<std::byte> out_;
  std::size_t bytes_ = 0;
  std::size_t memory_bytes_ = 0;
  std::size_t depth_ = 0;
  ElementCost next_;
  const char* fault_ = nullptr;
  DescriptorStore* store_;
  std::unique_ptr<Deposits> deposits_{};  ///< none while the value has held no descriptor
};

}  // namespace detail
}  // namespace troupe

/// cereal asks this before it copies an array of T as one block: bool must not be.
template <class T>
struct cereal::traits::is_output_serializable<cereal::BinaryData<T>, troupe::detail::OutputArchive>
    : std::bool_constant<troupe::detail::is_block<T>> {};

namespace troupe::detail {

template <class T>
void OutputArchive::put(const T& value) {
  if constexpr (is_block<T>) {
    write(&value, sizeof value);
  } else if constexpr (std::is_same_v<T, bool>) {
    put(static_cast<std::uint8_t>(value ? 1 : 0));
  } else if constexpr (std::is_same_v<T, long double>) {
    write(&value, long_double_bytes);
  } else if constexpr (FixedEnum<T>) {
    if constexpr (HasIsValid<T>) {
      if (!is_valid(value)) fault_ = "an enum has a value for which is_valid is false";
    }
    put(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (is_block_sequence<T>) {
    put(std::uint64_t{value.size()});
    write(value.data(), value.size() * sizeof(typename T::value_type));
  } else if constexpr (std::is_array_v<T> || is_array<T>) {
    for (const auto& element : value) put(element);
  } else if constexpr (is_bound_to_process<T> || (way_of<T> == Way::none && !has_fields<T>)) {
    require_serializable<T>();
  } else if constexpr (StandardType<T>) {
    if constexpr (Container<T>) next_ = find_element_cost<T>();
    put_class(value);
  } else if (++depth_ > CodecLimits::depth_max) {
    fault_ = "structs are nested too deep";
    --depth_;
  } else {
    put_class(value);
    --depth_;
  }
}

template <class T>
void OutputArchive::put_class(const T& value) {
  constexpr Way way = way_of<T>;
  // clang-format off
  if constexpr (way == Way::none) with_fields(value, [this](const auto&... fields) { (this->put(fields), ...); });
  else if constexpr (way == Way::member_serialize) cereal::access::member_serialize(*this, const_cast<T&>(value));  // as cereal does
  else if constexpr (way == Way::free_serialize) serialize(*this, const_cast<T&>(value));
  else if constexpr (way == Way::member_save_load) cereal::access::member_save(*this, value);
  else if constexpr (way == Way::free_save_load) save(*this, value);
  else if constexpr (way == Way::member_minimal) put(cereal::access::member_save_minimal(*this, value));
  else if constexpr (way == Way::free_minimal) put(save_minimal(*this, value));
  else put_class_versioned<way>(value);
  // clang-format on
}

template <Way way, class T>
void OutputArchive::put_class_versioned(const T& value) {
  const std::uint32_t version = cereal::detail::Version<T>::version;
  put(version);
  // clang-format off
  if constexpr (way == Way::member_serialize_versioned) cereal::access::member_serialize(*this, const_cast<T&>(value), version);
  else if constexpr (way == Way::free_serialize_versioned) serialize(*this, const_cast<T&>(value), version);
  else if constexpr (way == Way::member_save_load_versioned) cereal::access::member_save(*this, value, version);
  else if constexpr (way == Way::free_save_load_versioned) save(*this, value, version);
  // clang-format on
}

}  // namespace troupe::detail
