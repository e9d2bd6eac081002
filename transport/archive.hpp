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

/// Thrown by InputArchive, caught by `decode`. `reason` is a literal.
struct Malformed {
  const char* reason;
};

/// The same for a descriptor that the store does not give. Not `malformed` where the world was in the way.
struct NotWithdrawn {
  Error error;
};

/// Reads bytes that an enemy may have written: every size is checked before anything is allocated for it, and
/// what is no value of its type does not become one. Throws `Malformed` and `NotWithdrawn`. One use only; one
/// thread.
class InputArchive : cereal::access {
 public:
  using is_loading = std::true_type;
  using is_saving = std::false_type;

  /// `store` outlives this object. Without one, a value that holds descriptors is refused.
  explicit InputArchive(std::span<const std::byte> in, DescriptorStore* store = nullptr) noexcept
      : in_{in}, memory_bytes_left_{CodecLimits::memory_bytes_max(in.size())}, store_{store} {}
  InputArchive(const InputArchive&) = delete;
  InputArchive& operator=(const InputArchive&) = delete;

  template <class... Ts>
  InputArchive& operator()(Ts&&... values) {
    (take(values), ...);
    return *this;
  }
  template <class T>
  InputArchive& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  InputArchive& operator>>(T&& value) {
    return (*this)(value);
  }

  /// For the `load` of a type that holds descriptors: the next one that its `save` has deposited. It comes
  /// from another process: check what it is before it is used.
  [[nodiscard]] OwnedFd withdraw();

  [[nodiscard]] std::size_t bytes_left() const noexcept { return in_.size(); }

 private:
  template <class T>
  void take(T& value);
  template <class T>
  void take(cereal::NameValuePair<T>& pair) {
    take(pair.value);
  }
  template <class K, class V>
  void take(cereal::MapItem<K, V>& item) {
    take(item.key);
    take(item.value);
  }
  template <class T>
  void take(cereal::base_class<T>& base) {
    take(*base.base_ptr);
  }
  template <class T>
  void take(cereal::BinaryData<T>& data) {
    read(data.data, data.size);
  }
  template <class T>
  void take(cereal::SizeTag<T>& tag) {
    tag.size = static_cast<std::remove_reference_t<T>>(take_size());
  }
  template <class T>
  void take_class(T& value);
  template <class T>
  void take_keyed(T& value);

  std::size_t take_size() {
    std::uint64_t elements = 0;
    read(&elements, sizeof elements);
    const ElementCost cost = std::exchange(next_, {});
    if (elements > CodecLimits::elements_max) throw Malformed{"a container has too many elements"};
    if (elements * cost.wire_bytes > in_.size())
      throw Malformed{"a container has more elements than bytes follow"};
    if (elements * cost.memory_bytes > memory_bytes_left_)
      throw Malformed{"its containers take too much memory for so few bytes"};
    memory_bytes_left_ -= elements * cost.memory_bytes;
    return elements;
  }

  void read(void* data, std::size_t size) {
    if (size > in_.size()) throw Malformed{"the bytes end too early"};
    if (size != 0) std::memcpy(data, in_.data(), size);
    in_ = in_.subspan(size);
  }

  std::span<const std::byte> in_;
  std::size_t memory_bytes_left_;
  std::size_t depth_ = 0;
  ElementCost next_;
  DescriptorStore* store_;
};

}  // namespace detail
}  // namespace troupe

CEREAL_SETUP_ARCHIVE_TRAITS(troupe::detail::InputArchive, troupe::detail::OutputArchive)

/// cereal asks this before it copies an array of T as one block: bool must not be.
template <class T>
struct cereal::traits::is_output_serializable<cereal::BinaryData<T>, troupe::detail::OutputArchive>
    : std::bool_constant<troupe::detail::is_block<T>> {};
template <class T>
struct cereal::traits::is_input_serializable<cereal::BinaryData<T>, troupe::detail::InputArchive>
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

template <class T>
void InputArchive::take(T& value) {
  if constexpr (is_block<T>) {
    read(&value, sizeof value);
  } else if constexpr (std::is_same_v<T, bool>) {
    std::uint8_t byte = 0;
    take(byte);
    if (byte > 1) throw Malformed{"a bool is neither 0 nor 1"};
    value = byte == 1;
  } else if constexpr (std::is_same_v<T, long double>) {
    value = 0;
    read(&value, long_double_bytes);
  } else if constexpr (FixedEnum<T>) {
    std::underlying_type_t<T> number{};
    take(number);
    value = static_cast<T>(number);
    if constexpr (HasIsValid<T>) {
      if (!is_valid(value)) throw Malformed{"an enum has a value for which is_valid is false"};
    }
  } else if constexpr (is_block_sequence<T>) {
    std::uint64_t elements = 0;
    take(elements);
    if (elements > in_.size() / sizeof(typename T::value_type))
      throw Malformed{"a container has more elements than bytes follow"};
    value.resize(elements);
    read(value.data(), elements * sizeof(typename T::value_type));
  } else if constexpr (std::is_array_v<T> || is_array<T>) {
    for (auto& element : value) take(element);
  } else if constexpr (is_bound_to_process<T> || (way_of<T> == Way::none && !has_fields<T>)) {
    require_serializable<T>();
  } else if constexpr (StandardType<T>) {
    if constexpr (Container<T>) next_ = find_element_cost<T>();
    if constexpr (Keyed<T>)
      take_keyed(value);
    else
      take_class(value);
  } else {
    if (++depth_ > CodecLimits::depth_max) throw Malformed{"structs are nested too deep"};
    take_class(value);
    --depth_;
  }
}

/// Whether `key` may be the next one behind those of `value`, as encode would have written them.
template <Ordered T>
bool comes_next(const T& value, const typename T::key_type& key) {
  if (value.empty()) return true;
  const auto& last = *value.rbegin();
  const auto less = value.key_comp();
  if constexpr (requires { typename T::mapped_type; })
    return is_multi<T> ? !less(key, last.first) : less(last.first, key);
  else
    return is_multi<T> ? !less(key, last) : less(last, key);
}

/// Instead of cereal's own, which drop a key that comes twice and take any order.
template <class T>
void InputArchive::take_keyed(T& value) {
  value.clear();
  std::size_t left = take_size();
  if constexpr (requires { value.reserve(left); }) value.reserve(left);
  for (; left > 0; --left) {
    const std::size_t before = value.size();
    typename T::key_type key{};
    take(key);
    if constexpr (Ordered<T>) {
      if (!comes_next(value, key)) throw Malformed{"keys are out of order or come twice"};
    }
    if constexpr (requires { typename T::mapped_type; }) {
      typename T::mapped_type mapped{};
      take(mapped);
      value.emplace_hint(value.end(), std::move(key), std::move(mapped));
    } else {
      value.emplace_hint(value.end(), std::move(key));
    }
    if (value.size() == before) throw Malformed{"a key comes twice"};
  }
}

template <class T>
void InputArchive::take_class(T& value) {
  constexpr Way way = way_of<T>;
  [[maybe_unused]] const auto version = [this] {
    std::uint32_t number = 0;
    take(number);
    return number;
  };
  // clang-format off
  if constexpr (way == Way::none) with_fields(value, [this](auto&... fields) { (this->take(fields), ...); });
  else if constexpr (way == Way::member_serialize) cereal::access::member_serialize(*this, value);
  else if constexpr (way == Way::free_serialize) serialize(*this, value);
  else if constexpr (way == Way::member_save_load) cereal::access::member_load(*this, value);
  else if constexpr (way == Way::free_save_load) load(*this, value);
  else if constexpr (way == Way::member_minimal) {
    typename cereal::traits::has_member_save_minimal<T, OutputArchive>::type number{};
    take(number);
    cereal::access::member_load_minimal(*this, value, number);
  }
  else if constexpr (way == Way::free_minimal) {
    typename cereal::traits::has_non_member_save_minimal<T, OutputArchive>::type number{};
    take(number);
    load_minimal(*this, value, number);
  }
  else if constexpr (way == Way::member_serialize_versioned) cereal::access::member_serialize(*this, value, version());
  else if constexpr (way == Way::free_serialize_versioned) serialize(*this, value, version());
  else if constexpr (way == Way::member_save_load_versioned) cereal::access::member_load(*this, value, version());
  else if constexpr (way == Way::free_save_load_versioned) load(*this, value, version());
  // clang-format on
}

}  // namespace troupe::detail
